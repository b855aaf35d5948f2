"""The interop cases with paho-mqtt. Usage: paho_client.py HOST PORT TRANSPORT [FOLDER-OF-CERTIFICATES]"""

import os
import queue
import socket
import sys
import threading

import paho.mqtt.client as mqtt
from cases import LONG_TOPIC, MEBIBYTE, WAIT_SECS, certificate, expect, run

HOST, PORT, TRANSPORT = sys.argv[1], int(sys.argv[2]), sys.argv[3]


class Client:
    """A connected paho client whose callbacks are things one can wait for."""

    def __init__(self, client_id, clean_session=True, will=None):
        self.messages = queue.Queue()
        self.acknowledged = queue.Queue()
        self.connacks = queue.Queue()
        self.closed = threading.Event()
        self.paho = mqtt.Client(
            mqtt.CallbackAPIVersion.VERSION2,
            client_id=client_id,
            clean_session=clean_session,
            protocol=mqtt.MQTTv311,
            transport="websockets" if TRANSPORT in ("ws", "wss") else "tcp",
            reconnect_on_failure=False,
        )
        self.paho.on_connect = lambda _c, _u, flags, code, _p: self.connacks.put((flags.session_present, code.value))
        self.paho.on_message = lambda _c, _u, message: self.messages.put(message)
        self.paho.on_subscribe = lambda _c, _u, _mid, codes, _p: self.acknowledged.put([code.value for code in codes])
        self.paho.on_unsubscribe = lambda _c, _u, _mid, _codes, _p: self.acknowledged.put("unsubscribed")
        self.paho.on_disconnect = lambda *_: self.closed.set()
        if TRANSPORT in ("tls", "mtls", "wss"):
            own = (certificate("client-cert"), certificate("client-key")) if TRANSPORT == "mtls" else (None, None)
            self.paho.tls_set(certificate("authority"), *own)
        if will:
            self.paho.will_set(*will)
        self.paho.connect(HOST, PORT, keepalive=30)
        self.paho.loop_start()
        self.session_present, code = self.connacks.get(timeout=WAIT_SECS)
        expect(code, 0, "CONNACK")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.paho.disconnect()
        self.paho.loop_stop()

    def subscribe(self, topic_filter, qos):
        self.paho.subscribe(topic_filter, qos)
        expect(self.acknowledged.get(timeout=WAIT_SECS), [qos], "SUBACK")

    def unsubscribe(self, topic_filter):
        self.paho.unsubscribe(topic_filter)
        expect(self.acknowledged.get(timeout=WAIT_SECS), "unsubscribed", "UNSUBACK")

    def publish(self, topic, payload, qos=1, retain=False):
        """Returns once the broker has acknowledged, at QoS 1 and 2."""
        handed = self.paho.publish(topic, payload, qos, retain)
        handed.wait_for_publish(WAIT_SECS)
        expect(handed.is_published(), True, f"acknowledgement at QoS {qos}")

    def receive(self):
        message = self.messages.get(timeout=WAIT_SECS)
        return message.topic, message.payload, message.qos, message.retain

    def cut(self):
        """Ends the connection as a crash does: no DISCONNECT."""
        # Beneath TLS and WebSocket, which would say good-bye.
        with socket.socket(fileno=os.dup(self.paho.socket().fileno())) as beneath:
            beneath.shutdown(socket.SHUT_RDWR)
        self.closed.wait(WAIT_SECS)
        self.paho.loop_stop()


def connect():
    with Client("paho-connect") as client:
        expect(client.session_present, False, "session present")


def round_trip(qos):
    with Client(f"paho-qos{qos}-sub") as subscriber, Client(f"paho-qos{qos}-pub") as publisher:
        topic = f"paho/qos{qos}"
        subscriber.subscribe(topic, qos)
        for payload in (b"one", b"", b"\x00\xff two"):
            publisher.publish(topic, payload, qos)
            expect(subscriber.receive(), (topic, payload, qos, False), "message")


def qos_0():
    round_trip(0)


def qos_1():
    round_trip(1)


def qos_2():
    round_trip(2)


def retained():
    with Client("paho-retained") as client:
        client.publish("paho/retained", b"kept", retain=True)
        client.subscribe("paho/retained", 1)
        expect(client.receive(), ("paho/retained", b"kept", 1, True), "retained message")
        client.publish("paho/retained", b"", retain=True)
        expect(client.receive(), ("paho/retained", b"", 1, False), "message that clears")
        client.subscribe("paho/retained", 1)
        client.publish("paho/retained", b"next")
        expect(client.receive()[1], b"next", "message after the retained one is gone")


def will():
    with Client("paho-will-watch") as watcher:
        watcher.subscribe("paho/will", 2)
        with Client("paho-will-polite", will=("paho/will", b"never", 1, False)):
            pass
        Client("paho-will-cut", will=("paho/will", b"gone", 1, False)).cut()
        expect(watcher.receive(), ("paho/will", b"gone", 1, False), "will")


def offline_queue():
    with Client("paho-offline", clean_session=True):
        pass  # whatever an earlier run left
    with Client("paho-offline", clean_session=False) as client:
        expect(client.session_present, False, "session present at first")
        client.subscribe("paho/offline", 2)
    with Client("paho-offline-pub") as publisher:
        for qos in (1, 2):
            publisher.publish("paho/offline", f"at {qos}", qos)
    with Client("paho-offline", clean_session=False) as client:
        expect(client.session_present, True, "session present on return")
        expect(client.receive(), ("paho/offline", b"at 1", 1, False), "first queued message")
        expect(client.receive(), ("paho/offline", b"at 2", 2, False), "second queued message")
    with Client("paho-offline", clean_session=True) as client:
        expect(client.session_present, False, "session present after a clean start")


def take_over():
    first = Client("paho-taken")
    with Client("paho-taken") as second:
        expect(first.closed.wait(WAIT_SECS), True, "the first connection is closed")
        second.subscribe("paho/taken", 1)
        second.publish("paho/taken", b"mine")
        expect(second.receive()[1], b"mine", "message to the second connection")
    first.paho.loop_stop()


def one_mebibyte():
    with Client("paho-mebibyte") as client:
        client.subscribe("paho/mebibyte", 2)
        client.publish("paho/mebibyte", MEBIBYTE, 2)
        expect(client.receive()[1] == MEBIBYTE, True, "the same mebibyte comes back")


def longest_topic():
    with Client("paho-longest") as client:
        client.subscribe(LONG_TOPIC, 1)
        client.publish(LONG_TOPIC, b"far")
        topic, payload, _, _ = client.receive()
        expect((len(topic), topic == LONG_TOPIC, payload), (65535, True, b"far"), "message")


def unsubscribe():
    with Client("paho-unsubscribe") as client:
        client.subscribe("paho/unsubscribe", 1)
        client.subscribe("paho/unsubscribe/end", 1)
        client.unsubscribe("paho/unsubscribe")
        client.unsubscribe("paho/never-subscribed")
        client.publish("paho/unsubscribe", b"not for us")
        client.publish("paho/unsubscribe/end", b"for us")
        expect(client.receive()[1], b"for us", "the only message")


def shared():
    with Client("paho-share-a") as a, Client("paho-share-b") as b, Client("paho-share-pub") as publisher:
        for member in (a, b):
            member.subscribe("$share/paho/paho/share", 1)
            member.subscribe("paho/share-end", 1)
        sent = [b"%d" % number for number in range(20)]
        for payload in sent:
            publisher.publish("paho/share", payload)
        publisher.publish("paho/share-end", b"end")
        shares = [list(iter(lambda: member.receive()[1], b"end")) for member in (a, b)]
        expect(sorted(shares[0] + shares[1]), sorted(sent), "each message once, to one member")
        expect(all(shares), True, "both members get some")


run(
    f"paho-mqtt {TRANSPORT}",
    [
        connect, qos_0, qos_1, qos_2, retained, will, offline_queue, take_over,
        one_mebibyte, longest_topic, unsubscribe, shared,
    ],
)
