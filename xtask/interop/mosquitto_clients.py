"""The interop cases with mosquitto_pub and mosquitto_sub. Usage: mosquitto_clients.py HOST PORT TRANSPORT [FOLDER]"""

import queue
import subprocess
import sys
import threading

from cases import LONG_TOPIC, MEBIBYTE, WAIT_SECS, certificate, expect, run

HOST, PORT, TRANSPORT = sys.argv[1:4]
WHERE = ["-h", HOST, "-p", PORT]
if TRANSPORT in ("tls", "mtls"):
    WHERE += ["--cafile", certificate("authority")]
if TRANSPORT == "mtls":
    WHERE += ["--cert", certificate("client-cert"), "--key", certificate("client-key")]


def pub(*arguments, stdin=None):
    """Returns once mosquitto_pub has what its QoS promises."""
    command = ["mosquitto_pub", *WHERE, *arguments]
    done = subprocess.run(command, input=stdin, capture_output=True, timeout=WAIT_SECS)
    expect((done.returncode, done.stderr), (0, b""), "mosquitto_pub")


def sub(*arguments):
    """A mosquitto_sub that ends by itself: its exit code, and the payloads it received."""
    command = ["mosquitto_sub", *WHERE, *arguments]
    done = subprocess.run(command, capture_output=True, timeout=2 * WAIT_SECS)
    return done.returncode, done.stdout.splitlines()


class Sub:
    """A mosquitto_sub that is subscribed: its output a message a line, `TOPIC QOS RETAIN PAYLOAD-IN-HEX`."""

    def __init__(self, *arguments):
        options = ["-V", "mqttv311", "-d", "-F", "message %t %q %r %x", *arguments]
        command = ["stdbuf", "-oL", "mosquitto_sub", *WHERE, *options]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self.lines = queue.Queue()
        threading.Thread(target=self.read, daemon=True).start()
        self.until("SUBACK")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()  # asked politely just after SUBACK, it sometimes stays for ever
        self.process.wait(WAIT_SECS)

    def read(self):
        for line in self.process.stdout:
            self.lines.put(line.decode().rstrip("\n"))
        self.lines.put(None)

    def until(self, wanted):
        while True:
            line = self.lines.get(timeout=WAIT_SECS)
            if line is None:
                raise AssertionError(f"mosquitto_sub ended before it said {wanted}")
            if wanted in line:
                return line

    def receive(self):
        topic, qos, retain, payload = self.until("message ").split("message ", 1)[1].split(" ")
        return topic, int(qos), retain == "1", bytes.fromhex(payload)


def connect():
    pub("-t", "mosquitto/connect", "-n")


def round_trip(qos):
    topic = f"mosquitto/qos{qos}"
    with Sub("-t", topic, "-q", str(qos)) as subscriber:
        for payload in ("one", "two words"):
            pub("-t", topic, "-m", payload, "-q", str(qos))
            expect(subscriber.receive(), (topic, qos, False, payload.encode()), "message")


def qos_0():
    round_trip(0)


def qos_1():
    round_trip(1)


def qos_2():
    round_trip(2)


def retained():
    topic = "mosquitto/retained"
    pub("-t", topic, "-m", "kept", "-q", "1", "-r")
    with Sub("-t", topic, "-q", "1") as subscriber:
        expect(subscriber.receive(), (topic, 1, True, b"kept"), "retained message")
    pub("-t", topic, "-n", "-q", "1", "-r")
    with Sub("-t", topic, "-q", "1") as subscriber:
        pub("-t", topic, "-m", "next", "-q", "1")
        expect(subscriber.receive(), (topic, 1, False, b"next"), "message after the retained one is gone")


def will():
    with Sub("-t", "mosquitto/will", "-q", "1") as watcher:
        will_options = ["--will-topic", "mosquitto/will", "--will-payload", "gone", "--will-qos", "1"]
        with Sub("-t", "mosquitto/nothing", *will_options) as doomed:
            doomed.process.kill()
        expect(watcher.receive(), ("mosquitto/will", 1, False, b"gone"), "will")


def offline_queue():
    session = ["-t", "mosquitto/offline", "-q", "2", "-i", "mosquitto-offline", "-c", "-W", str(WAIT_SECS)]
    pub("-t", "mosquitto/offline", "-n", "-i", "mosquitto-offline")  # clean: whatever an earlier run left is gone
    expect(sub(*session, "-E"), (0, []), "subscribe and leave")
    for qos in ("1", "2"):
        pub("-t", "mosquitto/offline", "-m", f"at {qos}", "-q", qos)
    expect(sub(*session, "-C", "2"), (0, [b"at 1", b"at 2"]), "queued messages")


def take_over():
    with Sub("-t", "mosquitto/taken", "-q", "1", "-i", "mosquitto-taken") as first:
        pub("-t", "mosquitto/other", "-m", "taken", "-q", "1", "-i", "mosquitto-taken")
        first.until("sending CONNECT")  # it lost its connection, and takes its turn again
        first.until("SUBACK")
        pub("-t", "mosquitto/taken", "-m", "mine", "-q", "1")
        expect(first.receive()[3], b"mine", "message after the second take-over")


def one_mebibyte():
    with Sub("-t", "mosquitto/mebibyte", "-q", "2") as subscriber:
        pub("-t", "mosquitto/mebibyte", "-s", "-q", "2", stdin=MEBIBYTE)
        expect(subscriber.receive()[3] == MEBIBYTE, True, "the same mebibyte comes back")


def longest_topic():
    with Sub("-t", LONG_TOPIC, "-q", "1") as subscriber:
        pub("-t", LONG_TOPIC, "-m", "far", "-q", "1")
        topic, _, _, payload = subscriber.receive()
        expect((topic == LONG_TOPIC, payload), (True, b"far"), "message")


def unsubscribe():
    with Sub("-t", "mosquitto/un/#", "-U", "mosquitto/un/#", "-t", "mosquitto/un-end", "-q", "1") as subscriber:
        subscriber.until("UNSUBACK")
        pub("-t", "mosquitto/un/1", "-m", "not for us", "-q", "1")
        pub("-t", "mosquitto/un-end", "-m", "for us", "-q", "1")
        expect(subscriber.receive()[3], b"for us", "the only message")


def shared():
    filters = ["-t", "$share/mosquitto/mosquitto/share", "-t", "mosquitto/share-end", "-q", "1"]
    with Sub(*filters) as a, Sub(*filters) as b:
        sent = [b"%d" % number for number in range(20)]
        pub("-t", "mosquitto/share", "-l", "-q", "1", stdin=b"\n".join(sent) + b"\n")
        pub("-t", "mosquitto/share-end", "-m", "end", "-q", "1")
        shares = [list(iter(lambda: member.receive()[3], b"end")) for member in (a, b)]
        expect(sorted(shares[0] + shares[1]), sorted(sent), "each message once, to one member")
        expect(all(shares), True, "both members get some")


run(
    f"mosquitto_pub/sub {TRANSPORT}",
    [
        connect, qos_0, qos_1, qos_2, retained, will, offline_queue, take_over,
        one_mebibyte, longest_topic, unsubscribe, shared,
    ],
)
