"""The structure of the tool: imports without circles, private names, short functions."""

import ast
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "tooling" / "bakehouse"
LONGEST = 40


def name_of(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {name_of(path): ast.parse(path.read_text()) for path in PACKAGE.rglob("*.py")}


def imports(module: str) -> Iterator[tuple[str, str]]:
    """Every import from this package: the module, and the name or ''."""
    for node in ast.walk(MODULES[module]):
        if isinstance(node, ast.Import):
            yield from ((one.name, "") for one in node.names if one.name in MODULES)
        elif isinstance(node, ast.ImportFrom) and node.module in MODULES:
            for one in node.names:
                inner = f"{node.module}.{one.name}"
                yield (inner, "") if inner in MODULES else (node.module, one.name)


def test_no_module_imports_itself_in_a_circle() -> None:
    graph = {module: {found for found, _ in imports(module)} for module in MODULES}

    try:
        order = list(TopologicalSorter(graph).static_order())
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))

    assert order[-1] == "bakehouse.main"


@pytest.mark.parametrize(
    ("package", "below"),
    [
        ("server", set()),
        ("rpc", set()),
        ("migrations", {"server"}),
        ("shop", {"migrations", "rpc"}),
        ("deploy", {"migrations", "server", "shop"}),
    ],
)
def test_a_package_knows_only_those_below_it(package: str, below: set[str]) -> None:
    inside = [module for module in MODULES if module.startswith(f"bakehouse.{package}.")]

    found = [used for module in inside for used, _ in imports(module)]
    used = {part for name in found for part in name.split(".")[1:2]}

    assert used - {package, "database", "errors", "output"} <= below


def test_no_private_name_crosses_a_module() -> None:
    crossed = [
        f"{module} imports {name} from {found}"
        for module in MODULES
        for found, name in imports(module)
        if name.startswith("_") and name != "__version__"
    ]
    crossed += [
        f"{module}:{node.lineno} uses {ast.unparse(node)}"
        for module, tree in MODULES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.attr.startswith("_")
        and node.value.id
        in {found.rpartition(".")[2] for found, name in imports(module) if not name}
    ]

    assert crossed == []


def test_no_function_is_too_long() -> None:
    long = [
        f"{module}:{node.lineno} {node.name} has {lines} lines"
        for module, tree in MODULES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef)
        and (lines := (node.end_lineno or node.lineno) - node.lineno + 1) > LONGEST
    ]

    assert long == []
