"""Runs cases against a broker, one line each: `ok CLIENT TRANSPORT CASE`, or `FAILED CLIENT TRANSPORT CASE: why`."""

import os
import queue
import sys
import traceback

WAIT_SECS = 10
MEBIBYTE = bytes(range(256)) * 4096
LONG_TOPIC = "t" * 65535


def certificate(name):
    """The path of one of the PEM files that this run has."""
    return os.path.join(sys.argv[4], f"{name}.pem")


def expect(actual, wanted, what):
    if actual != wanted:
        raise AssertionError(f"{what}: {shorten(actual)} where {shorten(wanted)} was expected")


def shorten(value):
    text = repr(value)
    return text if len(text) <= 120 else f"{text[:100]}... ({len(text)} characters)"


def run(client, cases):
    """Exits 0 if every case of these went well, 1 otherwise."""
    failed = 0
    for case in cases:
        name = case.__name__
        try:
            case()
            print(f"ok {client} {name}", flush=True)
        except Exception as error:  # whatever a client throws is this case's failure, and the next one runs
            failed += 1
            why = f"nothing within {WAIT_SECS} s" if isinstance(error, queue.Empty) else str(error)
            print(f"FAILED {client} {name}: {why[:300]}", flush=True)
            traceback.print_exc()
    sys.exit(1 if failed else 0)
