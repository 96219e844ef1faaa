"""Links over real sockets, to servers that refuse, hang, or know an older MQTT."""

from __future__ import annotations

import contextlib
import socket
import threading
import time

import pytest

pytest.importorskip("paho.mqtt.enums")

from fer_edge.control.broker import Broker, broker_of, parse_broker, tls_context
from fer_edge.errors import DataError, MissingExtraError
from fer_edge.outputs.mqtt import link as links
from fer_edge.outputs.mqtt.link import Link, LinkLost, Message, require_paho


@contextlib.contextmanager
def server(answer):
    """A server that hands each connection to ``answer`` in a thread; gives its address as a broker."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        taken, serving = [], []

        def accept():
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = listening.accept()
                    taken.append(connection)
                    start(serve, connection)

        def serve(connection):
            with contextlib.suppress(OSError):
                answer(connection)

        def start(target, *arguments):
            serving.append(threading.Thread(target=target, args=arguments, daemon=True))
            serving[-1].start()

        start(accept)
        try:
            yield Broker("127.0.0.1", listening.getsockname()[1])
        finally:
            # Closing alone does not wake who waits in the socket.
            listening.shutdown(socket.SHUT_RDWR)
            serving[0].join()
            for one in taken:
                with contextlib.suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)
            for thread in serving:
                thread.join()
            for one in taken:
                one.close()


def packet(connection):
    """The next packet of MQTT, with its fixed header; shorter than 128 bytes."""
    head = connection.recv(2)
    assert head, "closed"
    body = b""
    while len(body) < head[1]:
        body += connection.recv(head[1] - len(body))
    return head[:1] + body


def test_a_port_without_a_broker_is_told():
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    with pytest.raises(LinkLost, match="connection refused"):
        Link(Broker("127.0.0.1", port), "shop").connect()


def test_a_name_that_cannot_be_resolved_is_told():
    with pytest.raises(LinkLost, match="its name cannot be resolved"):
        Link(Broker("broker.invalid", 1883), "shop").connect()
    with pytest.raises(LinkLost, match="is not a host name"):
        Link(Broker("a" * 70 + ".lan", 1883), "shop").connect()


def test_a_server_that_never_answers_is_given_up(monkeypatch):
    monkeypatch.setattr(links, "ANSWER_SECONDS", 0.3)

    def silent(connection):
        while connection.recv(100):
            pass

    with server(silent) as broker, pytest.raises(LinkLost, match="does not answer"):
        Link(broker, "shop").connect()


def test_a_server_that_hangs_up_is_told():
    with server(lambda connection: connection.close()) as broker, pytest.raises(LinkLost, match="lost"):
        Link(broker, "shop").connect()


def test_something_else_than_a_broker_is_told():
    def http(connection):
        connection.recv(100)
        connection.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n" * 3)

    with server(http) as broker, pytest.raises(LinkLost):
        Link(broker, "shop").connect()


def test_a_broker_is_told_to_send_no_large_packets():
    taken = []
    with (
        server(lambda connection: taken.append(packet(connection))) as broker,
        contextlib.suppress(LinkLost),
    ):
        Link(broker, "shop").connect()
    # Property 39 of CONNECT: MQTT 5.0, 3.1.2.11.4.
    assert b"\x27" + (256 * 1024).to_bytes(4, "big") in taken[0]


def test_an_old_broker_is_spoken_to_in_its_own_version():
    versions = []

    def old(connection):
        connect = packet(connection)
        version = connect[7]
        versions.append(version)
        if version == 5:
            connection.sendall(b"\x20\x02\x00\x01")
            return
        connection.sendall(b"\x20\x02\x00\x00")
        publish = packet(connection)
        length = publish[2]
        connection.sendall(b"\x40\x02" + publish[3 + length : 5 + length])
        connection.recv(1)

    with server(old) as broker:
        link = Link(broker, "shop")
        link.connect()
        number = link.publish(Message("fer-edge/shop/minutes", b"{}", 1))
        deadline = time.monotonic() + 20
        while not link.acknowledged:
            assert time.monotonic() < deadline
            link.turn(0.1)
        assert link.acknowledged.popleft() == (number, None)
        assert link.protocol == "3.1.1"
        link.close()
    assert versions == [5, 4]


def test_a_wrong_password_is_a_refusal_and_not_tried_by_an_older_version():
    asked = []

    def refusing(connection):
        asked.append(packet(connection))
        connection.sendall(b"\x20\x03\x00\x86\x00")

    with server(refusing) as broker, pytest.raises(LinkLost, match="bad user name or password") as caught:
        Link(broker, "shop").connect()
    assert caught.value.refused
    assert len(asked) == 1


def test_a_broker_that_takes_little_at_a_time_is_heard():
    def small(connection):
        packet(connection)
        connection.sendall(b"\x20\x06\x00\x00\x03\x21\x00\x05")
        connection.recv(1)

    with server(small) as broker:
        link = Link(broker, "shop")
        link.connect()
        assert link.window == 5
        link.close()


def test_a_will_is_left_with_the_broker_and_recalled_at_a_clean_end():
    seen = []

    def will(connection):
        seen.append(packet(connection))
        connection.sendall(b"\x20\x03\x00\x00\x00")
        seen.append(packet(connection))

    with server(will) as broker:
        link = Link(broker, "shop", Message("a/b", b"offline", 1, True))
        link.connect()
        link.close(1.0)
        deadline = time.monotonic() + 20
        while len(seen) < 2:
            assert time.monotonic() < deadline
            time.sleep(0.01)
    assert b"\x00\x03a/b\x00\x07offline" in seen[0]
    assert seen[0][8] & 0b111100 == 0b101100
    assert seen[1][0] == 0xE0


def test_without_paho_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "paho.mqtt.enums", None)
    with pytest.raises(MissingExtraError, match=r"MQTT needs paho-mqtt 2: pip install 'fer-edge\[mqtt\]'"):
        require_paho()


# URLs


@pytest.mark.parametrize(
    ("url", "broker"),
    [
        ("mqtt://broker.lan", Broker("broker.lan", 1883)),
        ("mqtts://broker.lan", Broker("broker.lan", 8883, True)),
        ("MQTT://me@10.0.0.1:1884/", Broker("10.0.0.1", 1884, user="me")),
        ("mqtt://[::1]:1884/home/faces", Broker("::1", 1884, root="home/faces")),
        ("mqtt://me:p%40ss@broker.lan", Broker("broker.lan", 1883, user="me", password="p@ss")),
    ],
)
def test_urls_name_a_broker(url, broker):
    assert parse_broker(url) == broker


@pytest.mark.parametrize(
    "url",
    [
        "http://broker.lan",
        "mqtt://",
        "mqtt://broker.lan:99999",
        "a b",
        "mqtt://broker.lan:x",
        "mqtt://broker.lan/a/+",
        "mqtt://broker.lan/a//b",
        "mqtt://broker.lan/$SYS",
        "mqtt://broker.lan/?x=1",
    ],
)
def test_what_is_no_broker_is_refused_with_the_form_of_one(url):
    with pytest.raises(DataError, match=r"mqtt\[s\]://\[USER@\]HOST|prefix of topics"):
        parse_broker(url)


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("localhost", "mqtt://localhost"),
        ("broker.lan:1883/shop", "mqtt://broker.lan:1883/shop"),
        ("broker.lan:8883", "mqtts://broker.lan:8883"),
        ("me:s3cret@broker.lan", "mqtt://broker.lan"),
    ],
)
def test_a_broker_without_a_scheme_is_told_the_right_url(given, meant):
    with pytest.raises(DataError, match=rf"is not the URL of a broker; give {meant}$") as caught:
        parse_broker(given)
    assert "s3cret" not in str(caught.value)


def test_port_0_is_no_broker():
    with pytest.raises(DataError, match=r"mqtts://h:0: no broker listens on port 0; .* none for 8883"):
        parse_broker("mqtts://h:0")


def test_no_message_and_no_form_of_a_broker_shows_its_password(tmp_path):
    file = tmp_path / "shop.password"
    file.write_text("s3cret/@\n")
    file.chmod(0o600)
    broker = broker_of("mqtt://me@broker.lan", str(file))
    assert broker.password == "s3cret/@"
    assert "s3cret" not in repr(broker)
    assert broker.place == "broker.lan:1883"
    for url in ("mqtt://me:s3cret@broker.lan:x", "mqtt://me:s3cret@broker.lan/+", "http://me:s3cret@x"):
        with pytest.raises(DataError) as caught:
            parse_broker(url)
        assert "s3cret" not in str(caught.value)
    with pytest.raises(DataError, match="--mqtt-password-file is for a URL with a user") as caught:
        broker_of("mqtt://me:s3cret@broker.lan", str(file))
    assert "s3cret" not in str(caught.value)


def test_files_of_tls_that_are_missing_or_no_certificates_are_named(tmp_path):
    with pytest.raises(DataError, match=r"--mqtt-ca is for TLS; give mqtts://broker\.lan:1883"):
        broker_of("mqtt://broker.lan", ca="ca.pem")
    with pytest.raises(DataError, match=r"--mqtt-ca .*ca\.pem: no such file"):
        broker_of("mqtts://broker.lan", ca=str(tmp_path / "ca.pem"))
    (tmp_path / "ca.pem").write_text("no certificate")
    with pytest.raises(DataError, match=r"--mqtt-ca .*a PEM file of certificates is needed"):
        tls_context(broker_of("mqtts://broker.lan", ca=str(tmp_path / "ca.pem")))
    pair = (str(tmp_path / "ca.pem"), str(tmp_path / "ca.pem"))
    with pytest.raises(DataError, match="two PEM files are needed"):
        tls_context(broker_of("mqtts://broker.lan", pair=pair))
