import sys
import threading
import time

import numpy as np
import psutil
import pytest
from pydicom import dcmread
from unit.decoding.helpers import GRAY8, GRAY16

from medr1_pacs.decoding import DecoderPool
from medr1_pacs.errors import PixelDataUnusable, StorageUnavailable, TransientError
from medr1_pacs.guarded import parent as parent_module


def test_a_child_starts_when_needed_is_kept_warm_and_goes_with_the_pool(own_pool, write_instance):
    the_child, is_gone = own_pool
    path = write_instance(GRAY8)

    with DecoderPool() as pool:
        assert is_gone()
        pool.decode(path, 0)
        first = the_child().pid
        pool.decode(path, 0)
        assert the_child().pid == first

    assert is_gone()


def test_a_refusal_names_the_frame_and_leaves_the_child_alive(own_pool, write_instance):
    the_child, _ = own_pool
    path = write_instance(GRAY8)

    with DecoderPool() as pool:
        with pytest.raises(PixelDataUnusable, match=r"^frame 3: the instance has 1 frames$"):
            pool.decode(path, 2)
        pid = the_child().pid
        assert np.array_equal(pool.decode(path, 0).stored_values, GRAY8)
        assert the_child().pid == pid


@pytest.fixture
def spoil(monkeypatch):
    """Do something to the child of a pool before each of its next requests."""

    def spoil(pool, times, harm):
        [child] = pool._children
        real, left = child._started, [harm] * times

        def started():
            process = real()
            if left:
                left.pop()(psutil.Process(process.pid))
            return process

        monkeypatch.setattr(child, "_started", started)

    return spoil


def test_a_decoder_that_hangs_once_is_replaced_and_the_frame_decoded(spoil, write_instance):
    path = write_instance(GRAY8)

    with DecoderPool(timeout_s=0.3) as pool:
        spoil(pool, 1, lambda child: child.suspend())
        assert np.array_equal(pool.decode(path, 0).stored_values, GRAY8)


def test_a_frame_over_which_the_decoder_hangs_twice_is_given_up(spoil, write_instance):
    path = write_instance(GRAY8)

    with DecoderPool(timeout_s=0.3) as pool:
        spoil(pool, 2, lambda child: child.suspend())
        with pytest.raises(PixelDataUnusable, match=r"ended after 0\.3 s"):
            pool.decode(path, 0)
        assert np.array_equal(pool.decode(path, 0).stored_values, GRAY8)


def test_a_frame_over_which_two_decoders_die_is_given_up(spoil, write_instance):
    path = write_instance(GRAY8)

    def kill_soon(child):
        child.suspend()
        threading.Timer(0.2, child.kill).start()

    with DecoderPool() as pool:
        spoil(pool, 2, kill_soon)
        with pytest.raises(PixelDataUnusable, match="died of SIGKILL"):
            pool.decode(path, 0)
        assert np.array_equal(pool.decode(path, 0).stored_values, GRAY8)


def test_an_interrupted_frame_is_never_taken_for_the_next_one(write_instance, monkeypatch):
    path = write_instance(GRAY8)
    header = dcmread(path)
    header.NumberOfFrames, header.PixelData = 2, GRAY8.tobytes() + (255 - GRAY8).tobytes()
    header.save_as(path)

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with DecoderPool() as pool:
        pool.decode(path, 0)
        with monkeypatch.context() as patch:
            patch.setattr(parent_module, "_read_reply", interrupt)
            with pytest.raises(KeyboardInterrupt):
                pool.decode(path, 0)
        assert np.array_equal(pool.decode(path, 1).stored_values, 255 - GRAY8)


def test_a_child_that_died_while_idle_costs_nothing(own_pool, write_instance):
    the_child, _ = own_pool
    path = write_instance(GRAY8)

    with DecoderPool() as pool:
        pool.decode(path, 0)
        child = the_child()
        child.kill()
        # Left unreaped for the pool to find: psutil's wait() would take its exit status.
        while child.status() != psutil.STATUS_ZOMBIE:
            time.sleep(0.01)
        assert np.array_equal(pool.decode(path, 0).stored_values, GRAY8)


def test_a_child_that_cannot_start_is_tried_again_later(write_instance, monkeypatch):
    monkeypatch.setattr(sys, "executable", "/bin/false")

    with (
        DecoderPool() as pool,
        pytest.raises(TransientError, match="could not be started: it ended with status 1"),
    ):
        pool.decode(write_instance(GRAY8), 0)


def test_a_file_that_cannot_be_read_is_the_storages_fault(pool, tmp_path):
    with pytest.raises(StorageUnavailable, match="No such file"):
        pool.decode(tmp_path / "absent.dcm", 0)


def test_children_see_no_setting_of_the_service(own_pool, write_instance, monkeypatch):
    the_child, _ = own_pool
    monkeypatch.setenv("MEDR1_VAULT_URL", "postgresql://user:secret@host/vault")

    with DecoderPool() as pool:
        pool.decode(write_instance(GRAY8), 0)
        assert not [name for name in the_child().environ() if name.startswith("MEDR1_")]


def test_threads_share_the_children(pool, write_instance):
    path = write_instance(GRAY16)
    results: list[np.ndarray] = []
    threads = [
        threading.Thread(target=lambda: results.append(pool.decode(path, 0).stored_values))
        for _ in range(4)
    ]

    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(results) == 4
    assert all(np.array_equal(result, GRAY16) for result in results)
