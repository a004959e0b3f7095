"""All measurements, Restante and Dovecot in turn: `make bench`, or `python -m bench.run --help`."""

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from bench import dovecot, restante
from bench.measurements import MEASUREMENTS, Measurement, Result, Settings, failed
from bench.results import facts, goals, write
from bench.server import Server

HERE = Path(__file__).resolve().parent
RESTANTE_SQLITE, RESTANTE_POSTGRESQL = "Restante, SQLite", "Restante, PostgreSQL"
TUNED, SHIPPED = "Dovecot tuned", "Dovecot as shipped"


def main() -> None:
    began = time.monotonic()
    options = _options()
    settings = Settings(options.seconds, options.pairs, options.huge, options.sessions)
    chosen = [m for m in MEASUREMENTS if not options.only or any(m.name.startswith(o) for o in options.only)]
    with ExitStack() as stack:
        # Where Dovecot's own user may enter: a folder that belongs to nobody else.
        root = Path(tempfile.mkdtemp(prefix="bench-", dir="/var/tmp"))
        stack.callback(shutil.rmtree, root, ignore_errors=True)
        root.chmod(0o711)
        settings.load = compile_load(root)
        places = _places(root, stack, settings)
        results = _measure(places, chosen, settings)
    if not options.only:
        subprocess.run([sys.executable, "-m", "bench.pages", *(["--no-console"] if options.quick else [])])
    write(HERE, chosen, results, settings, facts(), complete=not options.only)
    print(*goals(chosen, results), sep="\n")
    minutes = (time.monotonic() - began) / 60
    print(f"written: {HERE.name}/results.md and {HERE.name}/results.svg, after {minutes:.0f} minutes")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=0, help="how often each is measured (5; quick: 3)")
    parser.add_argument("--seconds", type=float, default=0, help="how long each time (1.5; quick: 0.7)")
    parser.add_argument("--huge", type=int, default=100_000, help="messages of the huge mailbox")
    parser.add_argument("--sessions", type=int, default=10_000, help="idle sessions")
    parser.add_argument("--only", nargs="*", default=[], help="measurements whose names begin so")
    parser.add_argument("--quick", action="store_true", help="fewer and shorter")
    options = parser.parse_args()
    options.pairs = options.pairs or (3 if options.quick else 5)
    options.seconds = options.seconds or (0.7 if options.quick else 1.5)
    return options


def compile_load(folder: Path) -> Path:
    program = folder / "load"
    command = ["cc", "-O2", "-o", str(program), str(HERE / "load.c"), "-lssl", "-lcrypto"]
    subprocess.run(command, check=True)
    return program


Places = dict[str, Server]


def _places(root: Path, stack: ExitStack, settings: Settings) -> Places:
    """Fill and start everybody; they all run all the time, and only one of them has work."""
    places: Places = {}
    kinds = ["SQLite"] + (["PostgreSQL"] if restante.postgresql_runs() else [])
    for kind in kinds:
        folder = root / kind
        folder.mkdir()
        url = stack.enter_context(restante.database(kind, folder))
        print(f"filling Restante, {kind} ...", flush=True)
        restante.prepare(folder, url, huge=settings.huge)
        name = f"Restante, {kind}"
        places[name] = stack.enter_context(restante.served(folder, url, name))
        settings.fresh[name] = settings.cold[name] = partial(restante.served, folder, url)
    if not dovecot.install():
        print("no Dovecot here, and it cannot be installed: Restante is measured alone")
        return places
    print("filling Dovecot ...", flush=True)
    folder = root / "dovecot"
    folder.mkdir()
    dovecot.prepare(folder, huge=settings.huge)
    for name, tuned in ((TUNED, True), (SHIPPED, False)):
        places[name] = stack.enter_context(dovecot.served(folder, tuned=tuned))
        settings.fresh[name] = partial(dovecot.served, folder, tuned=tuned)
        settings.cold[name] = partial(dovecot.served, folder, tuned=tuned, scheme="ARGON2ID")
    return places


def _measure(
    places: Places, chosen: Sequence[Measurement], settings: Settings
) -> dict[str, dict[str, list[Result]]]:
    """Results by measurement and place; in turn, so that whatever else the machine does hits all alike."""
    results: dict[str, dict[str, list[Result]]] = {}
    for number, measurement in enumerate(chosen, 1):
        of_it = results[measurement.name] = {name: [] for name in places}
        rounds = 1 if measurement.once else settings.pairs
        for round_ in range(rounds):
            for name, server in places.items():
                if name == SHIPPED and round_ > 0:
                    continue  # no ratio is made with it: once says enough
                label = f"[{number}/{len(chosen)}] {measurement.name}, {round_ + 1} of {rounds}, {name}"
                try:
                    result = measurement.measure(server, settings, name)
                except Exception as error:  # noqa: BLE001  (one that fails must not lose all the others)
                    result = failed(f"{type(error).__name__}: {error}")
                of_it[name].append(result)
                print(f"{label}: {result.said(measurement)}", flush=True)
    return results


if __name__ == "__main__":
    main()
