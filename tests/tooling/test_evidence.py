"""The record of an environment: whole, signed where signers are named, and never in the way."""

import json
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest

from bakehouse.deploy import evidence
from command import Project, query
from environments import Environments
from postgres import Server

KEYGEN = pytest.mark.skipif(not shutil.which("ssh-keygen"), reason="ssh-keygen is not installed")
KEY, SECRET = "BAKEHOUSE_SIGNING_KEY", "BAKEHOUSE_SIGNING_SECRET"
ACCEPT = ("--accept-tag", "a test", "--env", "prod")


@pytest.fixture
def pair(project: Project, server: Server, blank_template: str) -> Iterator[Environments]:
    """Staging and prod, not marked, and a project with one small migration."""
    project.write(
        "20260101000000_M0_cakes.sql", "create schema shop;\ncreate table shop.cakes (id int);\n"
    )
    urls = {env: server.dsn(server.copy(blank_template)) for env in ("staging", "prod")}
    for env, url in urls.items():
        project = project.configure(env, url, 'backup_probe = ["cat", "taken"]')
    pair = Environments(project, urls)
    pair.back_up()
    yield pair
    for name in pair.databases.values():
        server.drop(name)


def signing(pair: Environments, **variables: str) -> Environments:
    """The same environments, for somebody who has these variables and no other key."""
    known = {k: v for k, v in pair.project.variables.items() if k not in (KEY, SECRET)}
    return replace(pair, project=replace(pair.project, variables=known | variables))


def new_key(root: Path, name: str, passphrase: str = "") -> str:
    """Makes an ssh key. Returns its path."""
    command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", passphrase, "-C", name]
    subprocess.run([*command, "-f", str(root / name)], check=True)
    return str(root / name)


def allowed(key: str, name: str) -> str:
    return f"{name} {Path(f'{key}.pub').read_text().strip()}"


def demand(pair: Environments, *signers: str) -> None:
    """Names the signers of staging and prod in bakehouse.toml."""
    path = pair.project.root / "bakehouse.toml"
    line = f"signers = {json.dumps(signers)}\n"
    path.write_text(path.read_text().replace('url = "', f'{line}url = "'))


def release(pair: Environments) -> None:
    """Marks both environments, and proves the files on staging."""
    for command in (
        ("env", "mark", "staging"),
        ("env", "mark", "prod"),
        ("migrate", "plan", "--env", "staging"),
        ("migrate", "up", "--env", "staging"),
    ):
        ran = pair.project.run(*command)
        assert ran.code == 0, ran.err


def verdict(pair: Environments, env: str = "prod") -> tuple[str, str]:
    """The verdict of the gate `evidence`, and its reason."""
    gates = pair.run("gate", "check", "--json", env=env).json["gates"]
    (found,) = [gate for gate in gates if gate["gate"] == "evidence"]
    return found["verdict"], found["reason"]


def rehashed(entries: list[evidence.Entry], old: str, new: str) -> list[evidence.Entry]:
    """Edits the text of each entry and repairs all hashes, as a forger would."""
    forged: list[evidence.Entry] = []
    for entry in entries:
        previous = forged[-1].hash if forged else entry.previous
        text = entry.text.replace(old, new)
        forged.append(
            replace(entry, previous=previous, text=text, hash=evidence.hash_of(previous, text))
        )
    return forged


@pytest.mark.parametrize("means", [pytest.param("ssh", marks=KEYGEN), "hmac"])
def test_a_signed_release_goes_live_and_the_log_names_the_signer(
    pair: Environments, means: str
) -> None:
    if means == "ssh":
        key = new_key(pair.project.root, "ci")
        signer, variables = "ci@example.com", {KEY: key}
        demand(pair, allowed(key, signer))
    else:
        signer, variables = "hmac", {SECRET: "a secret of the CI"}
        demand(pair, "hmac")
    ci = signing(pair, **variables)

    release(ci)
    passed = verdict(ci)
    up = ci.project.run("migrate", "up", *ACCEPT)
    log = ci.run("log", "--json", env="prod").json["runs"]

    shown = ci.run("log", env="prod").out.splitlines()

    assert passed == ("passed", "the record is whole and signed")
    assert [line.endswith(f"done     {signer}") for line in shown[1:]] == [True, True]
    assert up.code == 0, up.err
    assert "a secret of the CI" not in up.err + up.out
    assert [(run["opened"]["kind"], run["signer"]) for run in log] == [
        ("mark", signer),
        ("up", signer),
    ]


def test_an_unsigned_release_is_a_warning_where_no_signer_is_named(pair: Environments) -> None:
    release(pair)

    judged, reason = verdict(pair)
    up = pair.project.run("migrate", "up", *ACCEPT)

    assert judged == "warning"
    assert "prod: mark of" in reason
    assert "staging: up of" in reason
    assert "is not signed" in reason
    assert up.code == 0, up.err
    assert "warning: evidence: " in up.err


def test_where_signers_are_named_no_run_begins_without_a_key(pair: Environments) -> None:
    release(pair)
    demand(pair, "hmac")
    before = query(pair.urls["staging"], "select count(*) from bakehouse.evidence")

    for command in (
        ("env", "mark", "staging"),
        ("backup", "take", "--env", "staging"),
        ("migrate", "repair", "forget", "20260101000000", "--yes", "--env", "staging"),
    ):
        ran = pair.project.run(*command)

        assert ran.code == 5, ran.err
        assert "bakehouse.toml names signers, and this run would be not signed" in ran.err
        assert KEY in ran.err
    assert query(pair.urls["staging"], "select count(*) from bakehouse.evidence") == before
    assert query(pair.urls["staging"], "select count(*) from bakehouse.migrations") == [(1,)]


def test_signers_named_later_refuse_what_is_not_signed(pair: Environments) -> None:
    release(pair)
    demand(pair, "hmac")
    ci = signing(pair, **{SECRET: "one"})

    refused = ci.project.run("migrate", "up", *ACCEPT)
    assert ci.project.run("env", "mark", "staging").code == 0
    own = verdict(ci, "staging")
    stranger = signing(pair, **{SECRET: "two"})
    other, other_reason = verdict(stranger, "staging")
    blind, blind_reason = verdict(signing(pair), "staging")

    assert refused.code == 5
    assert "evidence: prod: mark of" in refused.err
    assert "staging: up of" in refused.err
    assert own == ("passed", "the record is whole and signed")
    assert (other, "is not signed with the secret" in other_reason) == ("refused", True)
    assert (blind, f"{SECRET} is not set here" in blind_reason) == ("refused", True)


@KEYGEN
def test_a_key_that_is_not_named_signs_nothing_that_counts(pair: Environments) -> None:
    named, other = (new_key(pair.project.root, name) for name in ("named", "other"))
    stranger = signing(pair, **{KEY: other})
    release(stranger)
    demand(pair, allowed(named, "ci@example.com"))

    began = stranger.run("backup", "take", env="prod")
    judged, reason = verdict(stranger)

    assert began.code == 5
    assert "would be signed with a key that is no named signer's" in began.err
    assert judged == "refused"
    assert reason.count("signed with a key that is no named signer's") == 2


@KEYGEN
def test_a_forged_record_of_staging_is_refused_although_its_hashes_agree(
    pair: Environments,
) -> None:
    key = new_key(pair.project.root, "ci")
    demand(pair, allowed(key, "ci@example.com"))
    ci = signing(pair, **{KEY: key})
    release(ci)
    with psycopg.connect(ci.urls["staging"]) as conn:
        entries = evidence.entries(conn)
        for entry in rehashed(entries, '"smoke": {"failed": []', '"smoke": {"failed": [ ]'):
            conn.execute(
                "update bakehouse.evidence set body = %s, hash = %s, previous = %s"
                " where signature = %s",
                (entry.text, entry.hash, entry.previous, entry.signature),
            )
    in_database = verdict(ci)
    del (variables := dict(ci.project.variables))["BAKEHOUSE_STAGING_URL"]
    alone = replace(ci, project=replace(ci.project, variables=variables))
    from_files = verdict(alone)
    for path in (ci.project.root / "evidence").glob("staging-*.json"):
        found = [evidence.Entry(**one) for one in json.loads(path.read_text())]
        forged = rehashed(found, '"smoke": {"failed": []', '"smoke": {"failed": [ ]')
        path.write_text(json.dumps([vars(entry) for entry in forged]))
    from_forged_files = verdict(alone)

    assert from_files[0] == "passed"
    for judged, reason in (in_database, from_forged_files):
        assert judged == "refused"
        assert "staging: up of" in reason
        assert "is not what ci@example.com signed" in reason


def test_an_edited_record_of_prod_and_a_record_cut_short_are_refused(pair: Environments) -> None:
    release(pair)
    assert pair.project.run("migrate", "up", *ACCEPT).code == 0
    whole = verdict(pair)
    edit = "update bakehouse.evidence set body = replace(body::text, '{}', '{}')::json"

    pair.query("prod", edit.format('"done"', '"Done"') + " where number = 1")
    edited = verdict(pair)
    pair.query("prod", edit.format('"Done"', '"done"') + " where number = 1")
    pair.query("prod", "delete from bakehouse.evidence where number > 1")
    cut = verdict(pair)
    pair.query("prod", "delete from bakehouse.evidence where true")
    empty = verdict(pair)

    assert whole[0] == "warning"
    assert (edited[0], "entry 1" in edited[1]) == ("refused", True)
    assert (cut[0], "the history is not as the last run on record" in cut[1]) == ("refused", True)
    assert (empty[0], "no run is on record" in empty[1]) == ("refused", True)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('"kind": "mark", ', ""),
        ('"env": "prod"', '"env": "prod", "at": "later"'),
        ('"outcome": "done"', '"outcome": "done", "observed": {"findings": [{}]}'),
        ('"run": ', '"ran": '),
        (None, "[]"),
    ],
)
def test_a_forged_entry_without_the_facts_of_a_run_is_named_by_every_reader(
    pair: Environments, before: str | None, after: str
) -> None:
    release(pair)
    for command in (("init", "--quiet"), ("add", "--all"), ("commit", "--message", "A release")):
        pair.git(*command)
    pair.git("tag", "-a", "v1.0.0", "-m", "v1.0.0")
    with psycopg.connect(pair.urls["prod"]) as conn:
        (entry,) = evidence.entries(conn)
        (forged,) = rehashed([entry], before or entry.text, after)
        conn.execute(
            "update bakehouse.evidence set body = %s, hash = %s", (forged.text, forged.hash)
        )

    judged, reason = verdict(pair)
    read = [
        pair.run(*command, env="prod")
        for command in (("release", "verify", "v1.0.0"), ("log",), ("migrate", "up"))
    ]

    named = f"entry 1 ({forged.hash[:8]}) does not have the facts of a run"
    assert judged == "refused"
    assert named in reason
    for ran in read:
        assert "Traceback" not in ran.err
        assert named in ran.err


def test_a_forged_file_of_staging_without_the_facts_of_a_run_is_refused(
    pair: Environments,
) -> None:
    release(pair)
    (file, *_) = sorted((pair.project.root / "evidence").glob("staging-*.json"))
    found = [evidence.Entry(**one) for one in json.loads(file.read_text())]
    forged = rehashed(found, '"kind": ', '"sort": ')
    file.write_text(json.dumps([vars(entry) for entry in forged]))
    del (variables := dict(pair.project.variables))["BAKEHOUSE_STAGING_URL"]
    alone = replace(pair, project=replace(pair.project, variables=variables))

    refused = alone.project.run("migrate", "up", *ACCEPT)

    assert refused.code == 5, refused.err
    assert f"({forged[0].hash[:8]}) does not have the facts of a run" in refused.err


def test_a_killed_run_is_no_record_cut_short(pair: Environments) -> None:
    release(pair)
    pair.query("staging", "delete from bakehouse.evidence where number = 4")  # the end of `up`

    unfinished = verdict(pair, "staging")
    pair.query("staging", "delete from bakehouse.evidence where number > 1")
    cut = verdict(pair, "staging")

    assert (unfinished[0], cut[0]) == ("warning", "refused")


@KEYGEN
@pytest.mark.parametrize(
    ("name", "passphrase", "why"),
    [("locked", "five letters", "incorrect passphrase"), ("", "", "No such file")],
)
def test_a_key_that_cannot_sign_is_a_clear_error_and_never_a_prompt(
    pair: Environments, name: str, passphrase: str, why: str
) -> None:
    key = new_key(pair.project.root, name, passphrase) if name else "no-such-key"

    ran = signing(pair, **{KEY: key}).project.run("env", "mark", "prod")

    assert ran.code == 2
    assert f"{KEY} cannot sign: " in ran.err
    assert why in ran.err


def test_a_machine_without_ssh_keygen_says_what_to_install(pair: Environments) -> None:
    (pair.project.root / "bin").mkdir()

    ran = signing(pair, **{KEY: "key", "PATH": str(pair.project.root / "bin")}).project.run(
        "env", "mark", "prod"
    )

    assert (ran.code, "ssh-keygen is not installed" in ran.err) == (2, True)
    assert "Install openssh-client" in ran.err


def test_a_release_that_landed_succeeds_although_its_evidence_cannot_be_written(
    pair: Environments,
) -> None:
    folder = pair.project.root / "evidence"
    folder.write_text("in the way")  # root may write to any folder

    release(pair)
    up = pair.project.run("migrate", "up", "--json", *ACCEPT)
    folder.unlink()
    saved = pair.run("log", "--save", "--json", env="prod")

    assert (up.code, up.json["applied"]) == (0, ["20260101000000"])
    assert "not in a file" in up.err
    assert "`bakehouse log --env prod --save` writes the file later" in up.err
    assert len(saved.json["written"]) == 2


def test_only_a_run_that_moves_the_baseline_keeps_the_sql_of_each_object_again(
    pair: Environments,
) -> None:
    release(pair)
    pair.query("staging", "delete from bakehouse.definitions where true")
    pair.project.write("20260101000001_M0_pies.sql", "create table shop.pies (id int);\n")
    counted = []

    for command in (("backup", "take"), ("migrate", "plan"), ("migrate", "up")):
        ran = pair.run(*command, env="staging")
        assert ran.code == 0, ran.err
        counted.append(pair.query("staging", "select count(*) > 0 from bakehouse.definitions"))

    assert counted == [False, False, True]


def test_marks_and_repairs_are_on_record_with_their_reasons(pair: Environments) -> None:
    release(pair)

    marked = pair.project.run("env", "mark", "staging", "--reason", "moved")
    path = pair.project.root / "supabase" / "migrations" / "20260101000000_M0_cakes.sql"
    path.write_text(f"-- for the shop\n{path.read_text()}")
    repair = ("migrate", "repair", "rehash", "20260101000000", "--yes")
    repaired = pair.run(*repair, env="staging")
    log = pair.run("log", "--json", env="staging").json["runs"]

    assert (marked.code, repaired.code) == (0, 0), marked.err + repaired.err
    kinds = [run["opened"]["kind"] for run in log]
    assert kinds == ["mark", "rehearsal", "up", "mark", "repair"]
    assert log[3]["opened"]["reason"] == "moved"
    assert [mark["env"] for mark in log[3]["opened"]["earlier"]] == ["staging"]
    assert log[3]["opened"]["by"]["os_user"]
    assert verdict(pair, "staging")[0] == "warning"
