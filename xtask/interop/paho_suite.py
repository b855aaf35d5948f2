"""Runs the V3.1.1 client test of the Eclipse Paho interoperability suite. Usage: paho_suite.py HOST PORT CHECKOUT

The suite hands its own command line on to unittest, which newer Pythons refuse: unittest is given an empty one here.
"""

import os
import runpy
import sys
import unittest

host, port, checkout = sys.argv[1:]
folder = os.path.join(checkout, "interoperability")
script = os.path.join(folder, "client_test.py")
if not os.path.exists(script):
    sys.exit(f"{script} is not there: DIR must be a checkout of eclipse/paho.mqtt.testing")


def run_suite():
    test = sys.modules["__main__"].Test
    needs = "needs a broker that is set up to refuse subscriptions to test/nosubscribe"
    test.test_subscribe_failure = unittest.skip(needs)(test.test_subscribe_failure)
    program = original_main(argv=["client_test"], verbosity=2, exit=False)
    sys.exit(0 if program.result.wasSuccessful() else 1)


original_main, unittest.main = unittest.main, run_suite
sys.path.insert(0, folder)
sys.argv = [script, "--hostname", host, "--port", port]
runpy.run_path(script, run_name="__main__")
