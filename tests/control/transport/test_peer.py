"""Who may ask what: every verb is classified, and rights follow from what the kernel says of the peer."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile

import pytest

from ingestd.control.transport.peer import OWNER_VERBS, READ_VERBS, Rights, peer_of, refusal, rights
from ingestd.protocol import control as c

OWNER, OTHER, GROUP = 1000, 1001, 500


def test_every_verb_is_classified() -> None:
    """A verb that is added is the owner's or the readers', by decision: to forget it fails here."""
    assert set(c.VERBS) == READ_VERBS | OWNER_VERBS
    assert not READ_VERBS & OWNER_VERBS


@pytest.mark.parametrize(
    ("uid", "groups", "readers", "expected"),
    [
        (OWNER, {100}, None, Rights.ALL),
        (OWNER, {100}, GROUP, Rights.ALL),
        (0, {0}, None, Rights.ALL),
        (OTHER, {GROUP}, None, Rights.NONE),  # no group is configured
        (OTHER, {100, GROUP}, GROUP, Rights.READ),
        (OTHER, {100}, GROUP, Rights.NONE),
        (OTHER, {0}, GROUP, Rights.NONE),  # root's group is not root
    ],
)
def test_rights(uid: int, groups: set[int], readers: int | None, expected: Rights) -> None:
    """The owner and root everything, the group's members a look, nobody else anything."""
    assert rights(uid, lambda: frozenset(groups), OWNER, readers) is expected


def test_groups_are_looked_up_only_where_they_decide() -> None:
    """A directory service that does not answer must not keep the owner waiting."""

    def never() -> frozenset[int]:
        raise AssertionError("asked for groups")

    assert rights(OWNER, never, OWNER, GROUP) is Rights.ALL
    assert rights(OTHER, never, OWNER, None) is Rights.NONE


def test_a_reader_changes_nothing_and_opens_no_file() -> None:
    """Every verb of the owner is refused with a remedy; so is a search by a file, which the daemon would open."""
    for verb in c.VERBS:
        refused = refusal(verb, c.Search("cat"), Rights.READ)
        assert (refused is not None) == (verb in OWNER_VERBS), verb
        assert refused is None or "whose daemon it is" in refused.remedy
        assert refusal(verb, c.Search(like="/etc/shadow"), Rights.ALL) is None
    refused = refusal("search", c.Search(like="/etc/shadow"), Rights.READ)
    assert refused is not None
    assert "by words alone" in refused.message


def test_the_kernel_tells_who_connected() -> None:
    """Process, user and groups are those of the process at the other end."""
    here, there = socket.socketpair()
    with here, there:
        found = peer_of(here, None)
    assert found == (os.getpid(), Rights.ALL)


_CHILD = """
import os, socket, sys
os.setgroups([int(group) for group in sys.argv[3].split(",")])
os.setgid(65534)
os.setuid(65534)
sock = socket.socket(socket.AF_UNIX)
sock.connect(sys.argv[1])
sock.recv(1)
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another user: supplementary groups were not tested")
@pytest.mark.parametrize(
    ("groups", "expected"),
    [
        ([4711], Rights.READ),
        ([4712], Rights.NONE),
        ([*range(5000, 5020), 4711], Rights.READ),
        # More groups than Python takes at once: what the system's files say of the user decides, and they say nothing.
        ([*range(5000, 5400), 4711], Rights.NONE),
    ],
)
def test_supplementary_groups(groups: list[int], expected: Rights) -> None:
    """Membership by a supplementary group counts as much as by the primary one."""
    with tempfile.TemporaryDirectory(dir="/tmp") as folder, socket.socket(socket.AF_UNIX) as door:
        os.chmod(folder, 0o755)
        door.bind(f"{folder}/s")
        os.chmod(f"{folder}/s", 0o777)
        door.listen()
        listed = ",".join(map(str, groups))
        child = subprocess.Popen([sys.executable, "-c", _CHILD, f"{folder}/s", "-", listed])
        door.settimeout(30)
        sock, _ = door.accept()
        with sock:
            found = peer_of(sock, 4711)
        assert child.wait(30) == 0
    assert found == (child.pid, expected)
