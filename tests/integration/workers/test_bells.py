"""One outstanding bell a queue, over both brokers; a broker that is away is no error."""

from __future__ import annotations

import pytest

from workers.app import make_app
from workers.bells import BellTower


@pytest.fixture(params=["filesystem", "redis"])
def app(request, tmp_path):
    url = "filesystem://"
    if request.param == "redis":
        server = request.getfixturevalue("redis_server")
        server.start()
        url = server.url
    app = make_app(url, tmp_path)
    with app.connection_for_write() as connection:
        app.amqp.queues["answer.ct"](connection.default_channel).declare()
        app.amqp.queues["answer.ct"](connection.default_channel).purge()
    return app


def waiting(app, queue: str) -> int:
    with app.connection_for_write() as connection:
        bound = app.amqp.queues[queue](connection.default_channel)
        return bound.queue_declare().message_count


def test_a_bell_that_nobody_answered_is_not_rung_again(app):
    tower = BellTower(app)

    for _ in range(5):
        tower.ring_answer("ct")
    tower.close()

    assert waiting(app, "answer.ct") == 1


def test_a_broker_that_is_away_is_waited_for(tmp_path, redis_server, caplog):
    redis_server.start()
    app = make_app(redis_server.url, tmp_path)
    tower = BellTower(app)
    redis_server.kill()

    tower.ring_answer("ct")
    redis_server.start()
    tower.ring_answer("ct")
    tower.close()

    assert waiting(app, "answer.ct") == 1
    assert "the broker does not answer" in caplog.text
