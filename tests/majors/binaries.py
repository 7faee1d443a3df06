"""Prints the folders of Postgres majors other than the project's own, one a line."""

from pathlib import Path

from bakehouse import embedded

HERE = Path(__file__).parent

system = embedded.system_binaries(other_than=embedded.find_binaries().version)
for place in [*HERE.glob("node_modules/postgres-*/native/bin"), system and system.bin_dir]:
    if place:
        print(place)
