"""Runs every client's script against one broker, and says what passed.

    ci/kafka-conformance [CLIENT [FEATURE]]      all, one client, its features whose name has FEATURE in it

        broker, two shards ◀── confluent-kafka · rdkafka · kafka-python · kafkajs · kcat · raw sockets   all at once
        broker that makes unknown topics

What passed is compared with the tables in docs/kafka-compat.md; UPDATE_DOCS=1 writes them.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

HERE = Path(__file__).parent
DOC = HERE.parent.parent / "docs" / "kafka-compat.md"
API_TABLE = HERE.parent.parent / "kafka" / "src" / "api.rs"

CACHE = Path(os.environ["CACHE_DIR"])
RINGLOG = os.environ["RINGLOG_BIN"]
NEWEST, OLD = str(CACHE / "newest/bin/python"), str(CACHE / "old/bin/python")

# The order is that of the columns; the rows are in the order in which the first one has them.
CLIENTS = {
    "confluent-kafka": [NEWEST, HERE / "confluent.py"],
    "rdkafka": [os.environ["RDKAFKA_BIN"]],
    "kafka-python": [NEWEST, HERE / "kafka_python.py"],
    "kafka-python-2.3.2": [OLD, HERE / "kafka_python.py"],
    "kafkajs": ["node", HERE / "kafkajs.js"],
    "kcat": [NEWEST, HERE / "kcat.py"],
    "raw": [NEWEST, HERE / "raw.py"],
}
SECONDS_PER_CLIENT = 240


class Broker:
    def __init__(self, directory, *settings):
        self.data_dir = directory / "data"
        self.log = directory / "log"
        directory.mkdir()
        any_port = ["--listen=127.0.0.1:0", "--kafka=127.0.0.1:0"]
        arguments = [argument for setting in settings for argument in ("--set", setting)]
        with open(self.log, "w") as log:
            self.process = subprocess.Popen(
                [RINGLOG, "serve", f"--data-dir={self.data_dir}", *any_port, *arguments],
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        self.native, self.kafka = self._address("ringlog"), self._address("kafka")

    def _address(self, listener):
        line = self.process.stdout.readline()
        prefix = f"{listener} ready on "
        if not line.startswith(prefix):
            sys.exit(f"the broker did not start: {self.log.read_text()}")
        return line.removeprefix(prefix).strip()

    def stop(self):
        """Ends the broker in order; its exit code."""
        self.process.terminate()
        try:
            return self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return "still running 30 s after SIGTERM"


class Client(threading.Thread):
    """Runs one script or program and collects its lines."""

    def __init__(self, name, command, environment):
        super().__init__()
        self.name, self.version = name, "?"
        self.outcomes = {}
        wanted = sys.argv[2:]
        self.process = subprocess.Popen(
            [*map(str, command), *wanted],
            env={**os.environ, **environment, "KAFKA_CLIENT": name},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.start()

    def run(self):
        timer = threading.Timer(SECONDS_PER_CLIENT, self.process.kill)
        timer.start()
        # stderr is drained beside it: some clients log much.
        errors = []
        drain = threading.Thread(target=lambda: errors.append(self.process.stderr.read()))
        drain.start()
        for line in self.process.stdout:
            self._take(line)
        drain.join()
        status = self.process.wait()
        timer.cancel()
        if status != 0:
            self._record("the script runs to its end", f"exit code {status}\n{errors[0][-3000:]}")

    def _take(self, line):
        try:
            said = json.loads(line)
        except ValueError:
            print(f"{self.name}: {line.rstrip()}", flush=True)
            return
        if "version" in said:
            self.version = said["version"]
        else:
            self._record(said["feature"], said["failure"], said["seconds"])

    def _record(self, feature, failure, seconds=0.0):
        self.outcomes[feature] = failure is None
        verdict = "ok    " if failure is None else "FAILED"
        text = f"{verdict} {self.name:20} {feature} ({seconds} s)"
        print(text if failure is None else f"{text}\n{failure}", flush=True)


def run_clients(directory):
    """The clients, and what is wrong with the brokers afterwards."""
    shards = "shards.cpus=0,1" if (os.cpu_count() or 1) > 1 else "shards.cpus=0"
    quick = "group.session_timeout_min=1s"
    brokers = [
        Broker(directory / "broker", shards, quick),
        Broker(directory / "auto-create", "shards.cpus=0", "kafka.auto_create_topics=true"),
    ]
    environment = {
        "KAFKA_BOOTSTRAP": brokers[0].kafka,
        "KAFKA_AUTO_CREATE_BOOTSTRAP": brokers[1].kafka,
        "RINGLOG_BOOTSTRAP": brokers[0].native,
        "RINGLOG_DATA_DIR": str(brokers[0].data_dir),
        "NODE_PATH": str(CACHE / "node/node_modules"),
    }
    chosen = sys.argv[1:2] or CLIENTS
    clients = [Client(name, CLIENTS[name], environment) for name in chosen]
    for client in clients:
        client.join()
    wrong = []
    if not all(passed for client in clients for passed in client.outcomes.values()):
        print(f"the broker's log:\n{brokers[0].log.read_text()[-5000:]}")
    for broker in brokers:
        status = broker.stop()
        log = broker.log.read_text()
        if status != 0 or "panicked" in log:
            wrong.append(f"a broker ended with {status}:\n{log[-3000:]}")
    return clients, wrong


def client_table(clients):
    rows = dict.fromkeys(feature for client in clients for feature in client.outcomes)
    heads = [f"{client.name.removesuffix('-2.3.2')} {client.version}" for client in clients]
    lines = [f"| | {' | '.join(heads)} |", f"|---|{'---|' * len(clients)}"]
    marks = {True: "yes", False: "FAILS", None: "–"}
    for feature in rows:
        cells = [marks[client.outcomes.get(feature)] for client in clients]
        lines.append(f"| {feature} | {' | '.join(cells)} |")
    return "\n".join(lines)


def raw_list(raw):
    return "\n".join(f"- {feature}" for feature, passed in raw.outcomes.items() if passed)


def api_table():
    """From the table in kafka/src/api.rs, which has the first flexible version behind."""
    row = re.compile(r"^    (\w+) += (\d+), +(\d+) \| (\d+)\.\.=(\d+),", re.MULTILINE)
    lines = ["| key | API | versions |", "|---|---|---|"]
    for name, key, advertised, least, most in row.findall(API_TABLE.read_text()):
        refused = f" ({advertised} to {int(least) - 1} are advertised and refused)" if advertised < least else ""
        lines.append(f"| {key} | {name} | {least} to {most}{refused} |")
    return "\n".join(lines)


def without_versions(text):
    """Other versions of the clients than in the document are no difference."""
    return re.sub(r"(?m)^\| \| .*$", "", text)


def check_doc(clients):
    """Whether the document says what passed; writes it if that is asked for."""
    raw = clients[-1]
    parts = {"clients": client_table(clients[:-1]), "raw": raw_list(raw), "apis": api_table()}
    old = DOC.read_text()
    new = old
    for name, text in parts.items():
        begin, end = f"<!-- generated: {name} -->\n", f"<!-- end: {name} -->"
        before, found, rest = new.partition(begin)
        if not found:
            sys.exit(f"{DOC} has no place for the part {name}")
        new = f"{before}{begin}\n{text}\n\n{end}{rest.partition(end)[2]}"
    if os.environ.get("UPDATE_DOCS"):
        DOC.write_text(new)
        return True
    return without_versions(old) == without_versions(new)


def main():
    started = time.monotonic()
    directory = Path(tempfile.mkdtemp(prefix="run.", dir=CACHE))
    try:
        clients, failures = run_clients(directory)
    finally:
        subprocess.run(["rm", "-rf", str(directory)])
    outcomes = [passed for client in clients for passed in client.outcomes.values()]
    failures += [client.name for client in clients for passed in client.outcomes.values() if not passed]
    if len(sys.argv) == 1 and not check_doc(clients):
        failures.append("the document")
        print(f"FAILED {DOC} does not say what passed: UPDATE_DOCS=1 ci/kafka-conformance writes it")
    for failure in failures:
        if "\n" in failure:
            print(f"FAILED {failure}")
    seconds = round(time.monotonic() - started)
    print(f"{sum(outcomes)} passed, {len(failures)} failed in {seconds} s of clients")
    print(f"{sum(outcomes)} passed, {len(failures)} failed")
    sys.exit(1 if failures or not outcomes else 0)


main()
