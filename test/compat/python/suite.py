"""What the suites in Python share: assertions, waiting, and the lines for the table of clients."""
import os
import time
import traceback

THREE = bool(os.environ.get("COMPAT_THREE"))  # three nodes, of which one after the other is restarted
REPLICAS = 3 if THREE else 1  # of a topic
SMOKE = bool(os.environ.get("SMOKE"))
RUN = f"{os.getpid():x}"  # keeps the names of topics and groups apart when suites run against the same broker


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


def fails(error, call, what):
    try:
        call()
    except error as e:
        return e
    raise AssertionError(f"{what}: did not fail")


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
            test()
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

    def absent(self, *features):
        """Notes features that the client does not have."""
        self.note(features, "absent")

    def end(self):
        print(f"{self.name}: {self.version}: {self.passed} passed, {self.failed} failed", flush=True)
        raise SystemExit(1 if self.failed else 0)
