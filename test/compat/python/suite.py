"""What the suites in Python share: assertions, waiting, and the lines for the table of clients."""
import os
import time
import traceback

THREE = bool(os.environ.get("COMPAT_THREE"))  # three nodes, of which one after the other is restarted
REPLICAS = 3 if THREE else 1  # of a topic
SMOKE = bool(os.environ.get("SMOKE"))
RUN = f"{os.getpid():x}"  # keeps the names of topics and groups apart when suites run against the same broker
attempt = 0  # counts repeated parts


def same(expected, got, what):
    assert expected == got, f"{what}: expected {shortened(expected)}, got {shortened(got)}"


def shortened(value):
    text = repr(value)
    return text if len(text) < 600 else f"{text[:600]}… ({len(text)} characters)"


def until(condition, what, seconds=40, pause=0.02):
    """Waits for the condition; one that waits itself takes no pause."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"{what}: not within {seconds} s"
        time.sleep(pause)


def delivered(values):
    """The values in order: where nodes are restarted each once, since what was read before a commit was lost with its coordinator is read again."""
    return sorted(set(values) if THREE else values)


def acknowledged(acks, got):
    """What was got as (partition, offset, value): where nodes are restarted without what is there once more than it was acknowledged, as a
    producer that is not idempotent may write it."""
    known, values = set(acks), {value for _, _, value in acks}
    return sorted(record for record in got if not THREE or record in known or record[2] not in values)


def fails(error, call, what):
    try:
        call()
    except error as e:
        return e
    raise AssertionError(f"{what}: did not fail")


class Twice(Exception):
    """A record was written twice by a producer that is not idempotent, which a test of something else cannot use."""


class Patient:
    """A client whose calls are repeated, where nodes are restarted, while they fail with an error that passes, with a new client each
    time: one that knows of a controller that has gone asks for no other. In a repetition, done[name] says that name did its work before."""

    def __init__(self, connect, passes, done):
        self._connect, self._passes, self._done, self._client = connect, passes, done, connect()

    def __getattr__(self, name):
        method = getattr(self._client, name)
        return self._again(name) if THREE and callable(method) else method

    def _again(self, name):
        def call(*args, **kwargs):
            repeated, end = False, time.monotonic() + 40
            while True:
                try:
                    if repeated:
                        self._client = self._connect()
                    return getattr(self._client, name)(*args, **kwargs)
                except Exception as e:
                    if repeated and isinstance(e, self._done.get(name, ())):
                        return None
                    if not self._passes(e) or time.monotonic() > end:
                        raise
                repeated = True
                time.sleep(0.1)

        return call


class Suite:
    """Runs the parts of one client, one after the other, and notes what works for the table of clients."""

    def __init__(self, name, client, version):
        self.name, self.client, self.version = name, client, version
        self.passed = self.failed = 0

    def note(self, features, result):
        path = os.environ.get("COMPAT_RESULTS")
        if path:
            with open(path, "a", encoding="utf-8") as f:
                f.writelines(f"{self.client}\t{self.version}\t{feature}\t{result}\n" for feature in features)

    def part(self, features, test):
        """Runs test, which shows the features."""
        began = time.monotonic()
        try:
            self.until_once(test)
        except Exception:
            traceback.print_exc()
            print(f"{self.name} {self.version}: {test.__name__} FAILED", flush=True)
            self.failed += 1
            self.note(features, "fail")
            return
        self.passed += 1
        self.note(features, "pass")
        if os.environ.get("COMPAT_TIMES"):
            print(f"{self.name} {self.version}: {test.__name__} {time.monotonic() - began:.1f} s", flush=True)

    def until_once(self, test):
        """Runs test again, with other names, when a record was written twice."""
        global attempt
        while True:
            try:
                return test()
            except Twice:
                if attempt == 5:
                    raise
                attempt += 1

    def absent(self, *features):
        """Notes features that the client does not have."""
        self.note(features, "absent")

    def end(self):
        print(f"{self.name}: {self.version}: {self.passed} passed, {self.failed} failed", flush=True)
        raise SystemExit(1 if self.failed else 0)
