"""Prints the folders of the Postgres majors other than the default, one per line."""

from pathlib import Path

from bakehouse.server.binaries import find_binaries, system_binaries

HERE = Path(__file__).parent

system = system_binaries(other_than=find_binaries().version)
for place in [*HERE.glob("node_modules/postgres-*/native/bin"), system and system.bin_dir]:
    if place:
        print(place)
