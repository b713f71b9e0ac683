#!/usr/bin/env python3
"""Whole runs, folder to folder, beside vdirsyncer on the same data.

    cargo build --release && cargo build --release -p pairwise-tests --example people
    python3 -m venv target/judges && target/judges/bin/pip install vdirsyncer
    python3 tests/bench/whole_runs.py --vdirsyncer target/judges/bin/vdirsyncer

Needs Python 3.9 and nothing else; without --vdirsyncer only our own times are taken. The cards are those of the
example `people`: about 770 bytes of vCard 3.0 each. One round is, for each program in turn, on a fresh copy:

    first      N cards on the left, none on the right
    quiet      nothing has changed
    changes    1 % of the cards changed on the left (TITLE), another 1 % on the right (NOTE), 0.1 % deleted on the left

and after each phase the outcome is looked at: a fast wrong answer ends the benchmark. Told is the median of the rounds.
Between two phases lie three seconds and a `sync`, so that no program pays for the one before, nor for files that are
too young to be trusted by their time stamp.

Memory is the sum over the whole process tree of each process's peak (VmHWM), sampled every 5 ms. Whoever samples takes time
from the program, so that our rounds are run twice: for the time, and for the memory.
The table is Markdown; --json FILE keeps every single measurement. With --check the exit code is 1 if a limit is missed.
"""

import argparse
import json
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
PHASES = ["first", "quiet", "changes"]
SETTLE = 3.0  # seconds between two phases

# What is to be reached: our time by vdirsyncer's, at 10,000 cards.
RATIO = {("tmpfs", "first"): 0.5, ("disk", "first"): 1.0, "quiet": 0.15, "changes": 0.3}
GROWTH = 12.0  # 100,000 by 10,000 on tmpfs
MEMORY = {10_000: 48.0, 100_000: 100.0}  # MiB, host and workers
PER_LINK = 2500.0  # bytes of database


class Wrong(Exception):
    """The outcome of a run is not what it must be."""


# -- running and measuring


def tree(pid):
    """The process and all that it started."""
    found, todo = [], [pid]
    while todo:
        pid = todo.pop()
        found.append(pid)
        try:
            for task in os.listdir(f"/proc/{pid}/task"):
                with open(f"/proc/{pid}/task/{task}/children") as children:
                    todo.extend(int(child) for child in children.read().split())
        except OSError:
            pass
    return found


def sample(pid, peaks, over):
    """Notes each process's peak in MiB, until it is over."""
    while not over.wait(0.005):
        for process in tree(pid):
            try:
                with open(f"/proc/{process}/status") as status:
                    for line in status:
                        if line.startswith("VmHWM:"):
                            # It only grows, but for one time: a child is its parent until it has become its own program.
                            peaks[process] = int(line.split()[1]) / 1024
            except OSError:
                pass


def measure(command, env, log, memory):
    """Runs a command to its end: seconds and seconds of processor, or MiB."""
    before, peaks, over = os.times(), {}, threading.Event()
    with open(log, "wb") as out:
        start = time.perf_counter()
        process = subprocess.Popen(command, env=env, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT)
        watcher = threading.Thread(target=sample, args=(process.pid, peaks, over))
        if memory:
            watcher.start()
        code = process.wait()
        seconds = time.perf_counter() - start
    if memory:
        over.set()
        watcher.join()
    if code != 0:
        text = pathlib.Path(log).read_text(errors="replace")
        raise Wrong(f"{' '.join(map(str, command))} ended with {code}:\n{text[-2000:]}")
    after = os.times()
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    return {"mib": sum(peaks.values()), "processes": len(peaks)} if memory else {"seconds": seconds, "cpu": cpu}


# -- the two programs


class Pairwise:
    name = "pairwise"

    def __init__(self, program):
        self.program = program

    def prepare(self, folder):
        self.folder = folder
        connection = '[connections.{0}]\nplugin = "vdir"\nsettings = {{ path = "{0}" }}\n\n'
        (folder / "pairwise.toml").write_text(connection.format("left") + connection.format("right"))
        (folder / "profiles").mkdir()
        profile = 'preset = "mirror"\nleft = "left"\nright = "right"\nenabled = true\n'
        (folder / "profiles" / "people.toml").write_text(profile)

    def sync(self, memory):
        command = [self.program, "--config", self.folder, "--format", "json", "sync"]
        return measure(command, dict(os.environ), self.folder / "log", memory)

    def per_link(self, links):
        state = self.folder / "state"
        return sum(file.stat().st_size for file in state.glob("pairwise.db*")) / links


class Vdirsyncer:
    name = "vdirsyncer"

    def __init__(self, program):
        self.program = program

    def prepare(self, folder):
        self.folder = folder
        self.env = {**os.environ, "VDIRSYNCER_CONFIG": str(folder / "config"), "LC_ALL": "C.UTF-8"}
        storage = '[storage {0}]\ntype = "filesystem"\npath = "{1}/{0}"\nfileext = ".vcf"\n\n'
        pair = '[pair people]\na = "left"\nb = "right"\ncollections = null\nconflict_resolution = "a wins"\n\n'
        general = f'[general]\nstatus_path = "{folder}/status/"\n\n'
        config = general + pair + storage.format("left", folder) + storage.format("right", folder)
        (folder / "config").write_text(config)
        # It wants to be introduced once; not counted.
        subprocess.run([self.program, "discover"], env=self.env, check=True, input=b"y\n", capture_output=True)

    def sync(self, memory):
        return measure([self.program, "sync"], self.env, self.folder / "log", memory)


# -- the data


def pristine(people, place, size):
    """A folder of cards to be copied from."""
    folder = place / f"people-{size}"
    subprocess.run([people, folder, str(size)], check=True)
    return folder


def edit(path, name, value):
    """Gives a card another value of a property, folded lines and all, in place as an editor does it."""
    lines, inside = [], False
    for line in path.read_bytes().split(b"\r\n"):
        if line.startswith(name + b":"):
            lines.append(name + b":" + value)
            inside = True
        elif not (inside and line.startswith(b" ")):
            lines.append(line)
            inside = False
    path.write_bytes(b"\r\n".join(lines))


def change(folder, size):
    """The changes of the third phase; what must be seen afterwards is returned."""
    names = sorted(os.listdir(folder / "left"))
    titles, notes, gone = names[0::100], names[50::100], names[25::1000]
    for number, name in enumerate(titles):
        edit(folder / "left" / name, b"TITLE", b"Changed on the left %d" % number)
    for number, name in enumerate(notes):
        edit(folder / "right" / name, b"NOTE", b"Changed on the right %d" % number)
    for name in gone:
        (folder / "left" / name).unlink()
    return titles, notes, gone


def look(folder, expected, changed=None):
    left, right = (set(os.listdir(folder / side)) for side in ("left", "right"))
    left, right = ({name for name in side if not name.startswith(".")} for side in (left, right))
    if not len(left) == len(right) == expected:
        raise Wrong(f"{folder}: {len(left)} and {len(right)} cards, {expected} expected")
    if changed is None:
        return
    titles, notes, gone = changed
    for number, name in enumerate(titles):
        if b"TITLE:Changed on the left %d\r\n" % number not in (folder / "right" / name).read_bytes():
            raise Wrong(f"{folder}: the title of {name} has not arrived")
    for number, name in enumerate(notes):
        if b"NOTE:Changed on the right %d\r\n" % number not in (folder / "left" / name).read_bytes():
            raise Wrong(f"{folder}: the note of {name} has not arrived")
    if any(name in right for name in gone):
        raise Wrong(f"{folder}: what was deleted is still there")


def settle():
    os.sync()
    time.sleep(SETTLE)


def one_round(program, place, cards, size, memory):
    """The three phases of one program on a fresh copy."""
    folder = pathlib.Path(tempfile.mkdtemp(prefix=f"{program.name}-", dir=place))
    try:
        shutil.copytree(cards, folder / "left")
        (folder / "right").mkdir()
        program.prepare(folder)
        settle()
        results = {"first": program.sync(memory)}
        look(folder, size)
        if hasattr(program, "per_link"):
            results["first"]["per_link"] = program.per_link(size)
        settle()
        results["quiet"] = program.sync(memory)
        look(folder, size)
        changed = change(folder, size)
        settle()
        results["changes"] = program.sync(memory)
        look(folder, size - len(changed[2]), changed)
        return results
    finally:
        shutil.rmtree(folder)


def plain_copy(place, cards):
    """What the disk itself takes for a copy that is safe afterwards."""
    folder = pathlib.Path(tempfile.mkdtemp(prefix="copy-", dir=place))
    try:
        settle()
        start = time.perf_counter()
        subprocess.run(["cp", "-r", cards, folder / "copy"], check=True)
        os.sync()
        return time.perf_counter() - start
    finally:
        shutil.rmtree(folder)


# -- the table


def median(rows, key):
    values = [row[key] for row in rows if key in row]
    return statistics.median(values) if values else None


def limit_of(place, phase):
    return RATIO.get((place, phase), RATIO.get(phase))


def shown(value, pattern="{:.2f}"):
    return "" if value is None else pattern.format(value)


def table(all_rows, copies, sizes, places):
    """The Markdown table, and the limits that were missed."""
    lines = [
        "| place | cards | phase | pairwise s | (CPU s) | vdirsyncer s | ratio | limit | MiB | bytes/link | copy s |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    missed = []

    def against(what, value, limit):
        if value is not None and limit is not None and value > limit:
            missed.append(f"{what}: {value:.2f}, {limit:g} allowed")

    medians = {}
    for place in places:
        for size in sizes:
            for phase in PHASES:
                rows = [row for row in all_rows if (row["place"], row["size"], row["phase"]) == (place, size, phase)]
                ours, theirs = ([row for row in rows if row["program"] == name] for name in ("pairwise", "vdirsyncer"))
                our, their = median(ours, "seconds"), median(theirs, "seconds")
                ratio = our / their if our and their else None
                limit = limit_of(place, phase) if size == 10_000 else None
                mib = median(ours, "mib")
                per_link = median(ours, "per_link")
                copy = copies.get((place, size)) if phase == "first" else None
                medians[place, size, phase] = our
                where = f"{place}, {size}, {phase}"
                against(f"{where}: time by vdirsyncer's", ratio, limit)
                against(f"{where}: MiB", mib, MEMORY.get(size))
                against(f"{where}: bytes a link", per_link, PER_LINK)
                cells = [place, f"{size:,}", phase, shown(our), shown(median(ours, "cpu")), shown(their), shown(ratio),
                         shown(limit, "{:g}"), shown(mib, "{:.0f}"), shown(per_link, "{:.0f}"), shown(copy)]
                lines.append("| " + " | ".join(cells) + " |")
    for phase in PHASES:
        small, large = medians.get(("tmpfs", 10_000, phase)), medians.get(("tmpfs", 100_000, phase))
        if small and large:
            lines.append(f"\n{phase}: 100,000 cards take {large / small:.1f} times as long as 10,000 on tmpfs ({GROWTH:g} allowed)")
            against(f"tmpfs, {phase}: 100,000 by 10,000", large / small, GROWTH)
    return "\n".join(lines), missed


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", type=pathlib.Path, default=ROOT / "target/release/pairwise")
    parser.add_argument("--people", type=pathlib.Path, default=ROOT / "target/release/examples/people")
    parser.add_argument("--vdirsyncer", type=pathlib.Path, help="program to compare with")
    parser.add_argument("--without-pairwise", action="store_true", help="only the other program, to try this script")
    parser.add_argument("--sizes", default="10000,100000")
    parser.add_argument("--compare-at", default="10000", help="sizes at which vdirsyncer runs, too")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--phases-on", default="tmpfs,disk", help="tmpfs is /dev/shm, disk is --disk")
    parser.add_argument("--disk", type=pathlib.Path, default=ROOT / "target")
    parser.add_argument("--json", type=pathlib.Path)
    parser.add_argument("--check", action="store_true")
    args = parser.parse_args()

    sizes = [int(size) for size in args.sizes.split(",")]
    compared = {int(size) for size in args.compare_at.split(",") if size}
    places = {"tmpfs": pathlib.Path("/dev/shm"), "disk": args.disk.resolve()}
    places = {name: places[name] for name in args.phases_on.split(",")}
    ours = [] if args.without_pairwise else [Pairwise(args.program.resolve())]
    # Not resolved: a program of a virtual environment finds its packages by where it lies.
    others = [Vdirsyncer(args.vdirsyncer.absolute())] if args.vdirsyncer else []
    for program in [args.people] + [program.program for program in ours + others]:
        if not program.is_file():
            sys.exit(f"{program} is not there; see the head of {pathlib.Path(__file__).name} for how to make it")

    rows, copies = [], {}
    for name, base in places.items():
        place = pathlib.Path(tempfile.mkdtemp(prefix="pairwise-bench-", dir=base))
        try:
            for size in sizes:
                cards = pristine(args.people.resolve(), place, size)
                copies[name, size] = statistics.median(plain_copy(place, cards) for _ in range(min(3, args.rounds)))
                programs = ours + (others if size in compared else [])
                for number in range(args.rounds):
                    # Turn about, so that neither always runs on the warmer machine.
                    turns = [(program, False) for program in programs] + [(program, True) for program in ours]
                    for program, memory in turns if number % 2 == 0 else turns[::-1]:
                        results = one_round(program, place, cards, size, memory)
                        for phase, result in results.items():
                            rows.append({"place": name, "size": size, "round": number, "phase": phase, "program": program.name, **result})
                        unit, key = ("MiB", "mib") if memory else ("s", "seconds")
                        told = ", ".join(f"{phase} {result[key]:.2f} {unit}" for phase, result in results.items())
                        print(f"{name} {size} round {number + 1} {program.name}: {told}", file=sys.stderr)
                shutil.rmtree(cards)
        finally:
            shutil.rmtree(place)

    text, missed = table(rows, copies, sizes, list(places))
    print(text)
    for line in missed:
        print(f"missed: {line}", file=sys.stderr)
    if args.json:
        kept = {"rows": rows, "copies": [{"place": p, "size": s, "seconds": t} for (p, s), t in copies.items()], "missed": missed}
        args.json.write_text(json.dumps(kept, indent=1))
    return 1 if missed and args.check else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Wrong as wrong:
        sys.exit(f"wrong outcome: {wrong}")
