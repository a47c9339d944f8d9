"""The report of a port: exactly one whole number, and BatchSpawner's own handler gone."""

from __future__ import annotations

import batchspawner.api
import pytest
from jupyterhub import apihandlers

from spawners.report import StartReport, install, read_port


def test_a_port_is_read() -> None:
    assert read_port(b'{"port": 40123}') == 40123
    assert read_port(b' {"port":1024} ') == 1024


@pytest.mark.attack
@pytest.mark.parametrize(
    "body",
    [
        b"", b"1", b"[]", b"null", b'"port"', b"{}", b'{"port": true}', b'{"port": null}', b'{"port": "40123"}',
        b'{"port": 40123.0}', b'{"port": 4e4}', b'{"port": 1023}', b'{"port": 65536}', b'{"port": -40123}',
        b'{"port": 0}',
        b'{"port": NaN}', b'{"port": Infinity}', b'{"port": 40123, "ip": "x"}', b'{"port": 40123, "port": 40124}',
        b'{"Port": 40123}', b'{"port": [40123]}', b'{"port": {"port": 40123}}', b'{"port": 040123}',
        b'{"port": 40123} x',
        b"\xff\xfe", b'{"port":' * 20, b"[" * 60,
    ],
)  # fmt: skip
def test_anything_but_one_port_is_refused(body: bytes) -> None:
    with pytest.raises(ValueError):
        read_port(body)


@pytest.mark.attack
def test_the_stock_handler_is_gone_from_the_list_that_jupyterhub_reads() -> None:
    classes = [entry[1] for entry in apihandlers.default_handlers]
    assert batchspawner.api.BatchSpawnerAPIHandler not in classes
    assert classes.count(StartReport) == 1


@pytest.mark.attack
def test_a_handler_derived_from_the_stock_one_is_removed_too() -> None:
    class Renamed(batchspawner.api.BatchSpawnerAPIHandler):  # type: ignore[misc]
        pass

    handlers: list[tuple[str, type]] = [("/api/other", Renamed), ("/api/info", object)]
    install(handlers)
    assert [entry[1] for entry in handlers] == [object, StartReport]


@pytest.mark.attack
def test_another_handler_at_the_stock_address_stops_the_hub() -> None:
    with pytest.raises(RuntimeError, match="must not start"):
        install([("/api/batchspawner", object)])
