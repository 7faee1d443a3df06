"""Prints the folders of the Postgres majors other than the default, one per line."""

from pathlib import Path

from bakehouse.server.binaries import installed_binaries

HERE = Path(__file__).parent

default, *installed = installed_binaries()
other = [one.bin_dir for one in installed if one.version != default.version]
for place in [*HERE.glob("node_modules/postgres-*/native/bin"), *other[:1]]:
    print(place)
