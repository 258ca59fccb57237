"""The address of a Qdrant server: what is read, what is refused, and that a refusal never repeats a secret."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from ingestd.errors import EXIT_USAGE, Misconfigured
from ingestd.protocol.addresses.qdrant_url import MAX_NAME, Server, collection_name, parse, refuse_key


@pytest.mark.parametrize(
    ("text", "server"),
    [
        ("http://localhost:6333", Server("http", "localhost", 6333)),
        ("http://localhost", Server("http", "localhost", 6333)),
        ("https://qdrant.example", Server("https", "qdrant.example", 6333)),
        ("https://qdrant.example:443/", Server("https", "qdrant.example", 443)),
        ("https://example/a/qdrant/", Server("https", "example", 6333, "/a/qdrant")),
        ("grpc://nas", Server("grpc", "nas", 6334)),
        ("grpcs://nas:1", Server("grpcs", "nas", 1)),
        ("HTTP://NAS.Local:80", Server("http", "nas.local", 80)),
        ("http://[::1]:6333", Server("http", "::1", 6333)),
        ("http://192.168.1.2", Server("http", "192.168.1.2", 6333)),
        ("http://my_qdrant:6333", Server("http", "my_qdrant", 6333)),
        ("http://h?collection=photos", Server("http", "h", 6333, "", "photos")),
        ("http://h/?collection=a%20b%C3%A9&insecure=yes", Server("http", "h", 6333, "", "a bé", True)),
        ("http://h?insecure=no", Server("http", "h", 6333)),
    ],
)
def test_what_is_read(text: str, server: Server) -> None:
    """Scheme and host in lower case, Qdrant's own ports where none is given, options decoded."""
    assert parse(text) == server


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "begins with none of"),
        ("localhost:6333", "begins with none of"),
        ("ftp://h", "begins with none of"),
        ("http://", "host is missing"),
        ("http://:6333", "host is missing"),
        ("http://a b", "space"),
        ("http://h\n", "space"),
        ("http://hé", "space"),
        ("http://-h", "host is missing"),
        ("http://h..x", "host is missing"),
        ("http://[fe80::1%25eth0]", "host is missing"),
        ("http://[::1", "cannot be read"),
        ("http://h:70000", "cannot be read"),
        ("http://h:x", "cannot be read"),
        ("http://h:0", "port 0"),
        ("http://h#x", "#"),
        ("http://h#", "#"),
        ("http://h/a//b", "prefix"),
        ("http://h/../x", "prefix"),
        ("http://h/a%2Fb", "prefix"),
        ("grpc://h/x", "gRPC knows no path"),
        ("http://h?collection", "name=value"),
        ("http://h?collection=", "no such name"),
        ("http://h?collection=a/b", "no such name"),
        ("http://h?collection=a%00", "no such name"),
        ("http://h?collection=..", "no such name"),
        ("http://h?collection=%20a", "no such name"),
        ("http://h?collection=%ff", "name=value"),
        (f"http://h?collection={'a' * 201}", "no such name"),
        ("http://h?collection=a&collection=b", "twice"),
        ("http://h?insecure=true", "neither yes nor no"),
        ("http://h?timeout=1", "option that is not known"),
    ],
)
def test_what_is_refused(text: str, why: str) -> None:
    """One sentence each, with the form that is wanted, as a mistake in use."""
    with pytest.raises(Misconfigured, match=why.replace("?", r"\?")) as raised:
        parse(text)
    assert raised.value.exit == EXIT_USAGE
    assert raised.value.remedy


@pytest.mark.parametrize(
    "text",
    [
        "http://user:S3cretKey@h",
        "http://S3cretKey@h:6333",
        "https://:S3cretKey@h/x",
        "S3cretKey@h",
        "http://h?api_key=S3cretKey",
        "http://h?S3cretKey=yes",
        "http://h?S3cretKey",
        "http://h?insecure=S3cretKey",
        "http://h?collection=S3cretKey/",
        "http://h/S3cretKey//x",
        "http://h#S3cretKey",
        "http://h:S3cretKey",
        "S3cretKey://h",
        "S3cretKey",
    ],
)
def test_a_refusal_repeats_no_secret(text: str) -> None:
    """A key typed into the URL, wherever, is in no message: errors are logged and shown."""
    with pytest.raises(Misconfigured) as raised:
        parse(text)
    assert "s3cretkey" not in (raised.value.sentence() + repr(raised.value.__dict__)).lower()
    assert raised.value.__cause__ is None


@given(st.text(max_size=60) | st.from_regex(r"(http|grpcs)://[a-z.:/?&=#@\[\]%0-9]{0,40}", fullmatch=True))
def test_any_text_is_read_or_refused(text: str) -> None:
    """Nothing but ``Misconfigured`` comes out, and what was read is read again from how it is shown."""
    try:
        server = parse(text)
    except Misconfigured:
        return
    assert parse(server.shown) == server._replace(collection=None, insecure=False)


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("localhost", True), ("a.localhost", True), ("127.0.0.1", True), ("127.9.9.9", True), ("::1", True),
        ("::ffff:127.0.0.1", True), ("localhost.example", False), ("128.0.0.1", False), ("0.0.0.0", False),
        ("127.0.0.1.example", False), ("::2", False), ("nas", False),
    ],
)  # fmt: skip
def test_what_is_this_machine(host: str, loopback: bool) -> None:
    """Only names and addresses that never leave it."""
    assert Server("http", host, 1).loopback is loopback


@pytest.mark.parametrize(
    ("text", "may"),
    [
        ("http://localhost", True), ("grpc://127.0.0.1", True), ("https://far.example", True), ("grpcs://far", True),
        ("http://far.example", False), ("grpc://10.0.0.1", False), ("http://far.example?insecure=yes", True),
    ],
)  # fmt: skip
def test_a_key_crosses_no_network_in_plain_text(text: str, may: bool) -> None:
    """Unless it was asked for; the remedy names the scheme that is encrypted."""
    if may:
        refuse_key(parse(text))
        return
    with pytest.raises(Misconfigured, match="plain text") as raised:
        refuse_key(parse(text))
    assert ("grpcs://" if text.startswith("grpc") else "https://") in raised.value.remedy


@pytest.mark.parametrize(
    ("store", "name"),
    [
        ("photos-0123abcd", "photos-0123abcd"),
        ("my photos 2024-0123abcd", "my photos 2024-0123abcd"),
        ("a/b:c?-0123abcd", "a-b-c--0123abcd"),
        ("..-0123abcd", "ingestd-0123abcd"),
        ("Bilder Zoë-0123abcd", "Bilder Zoë-0123abcd"),
        ("-0123abcd", "ingestd-0123abcd"),
        ("nodash", "nodash"),
        ("", "ingestd"),
    ],
)
def test_the_name_of_a_store_is_made_fit(store: str, name: str) -> None:
    """Only what Qdrant does not take is replaced."""
    assert collection_name(Server("http", "h", 1), store) == name


@given(st.text(max_size=400))
def test_any_name_of_a_job_gives_a_collection(name: str) -> None:
    """It is of a form that the URL could name too, and the fingerprint at its end is whole."""
    found = collection_name(Server("http", "h", 1), f"{name}-0123abcd")
    assert found.endswith("-0123abcd")
    assert len(found.encode()) <= MAX_NAME
    assert not set(found) & set('<>:"/\\|?*\0\x1f\n')
    assert not found.startswith((".", " "))


def test_the_name_in_the_url_wins() -> None:
    """It is used as it is."""
    assert collection_name(parse("http://h?collection=mine"), "photos-0123abcd") == "mine"
