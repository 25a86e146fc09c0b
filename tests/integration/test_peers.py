"""Our side as an SCU, against a real listener."""

from __future__ import annotations

import pytest
from factories import make_instance
from pynetdicom.association import Association

from medr1_pacs.listener.associations import AssociationLog
from medr1_pacs.listener.server import Listener
from medr1_pacs.peers import echo, send_instances

# A property without effect: whatever is written, it reads True.
ALWAYS = property(lambda self: True, lambda self, value: None)


@pytest.fixture
def port(store):
    listener = Listener(
        store, AssociationLog(lambda rows: None), ae_title="MEDR1", host="127.0.0.1", port=0
    )
    with listener:
        yield listener.port


def send(port, datasets):
    return list(send_instances(datasets, "127.0.0.1", port, called_ae_title="MEDR1"))


class NeverWaits:
    """A checkpoint that pauses nobody: the reactor runs beside every send."""

    def clear(self):
        pass

    def set(self):
        pass

    def wait(self):
        pass


def test_a_response_that_the_reactor_takes_reaches_its_sender_all_the_same(port, monkeypatch):
    begin = Association.__init__

    def begin_unpaused(self, *args, **kwargs):
        begin(self, *args, **kwargs)
        if self.is_requestor:
            self._reactor_checkpoint = NeverWaits()

    monkeypatch.setattr(Association, "__init__", begin_unpaused)
    monkeypatch.setattr(Association, "_is_paused", ALWAYS, raising=False)

    assert send(port, [make_instance() for _ in range(5)]) == [0x0000] * 5


def test_a_peer_that_is_not_there_is_no_error_for_an_echo(port):
    assert echo("127.0.0.1", port, called_ae_title="MEDR1")
    assert not echo("127.0.0.1", 1, called_ae_title="MEDR1")
