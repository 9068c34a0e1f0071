"""Calls that tests of the VTN make: a program, an event, a grant, a subscription."""

from typing import Any

from openadr_room import Room

EVENT = {"intervals": [{"id": 0, "payloads": [{"type": "SIMPLE", "values": [1]}]}]}


async def program(room: Room, name: str = "p", **more: Any) -> str:
    status, made = await room.call("bl", "POST", "/programs", {"programName": name, **more})
    assert status == 201, made
    return made["id"]


async def event(room: Room, of: str, **more: Any) -> dict:
    status, made = await room.call("bl", "POST", "/events", {"programID": of, **EVENT, **more})
    assert status == 201, made
    return made


async def grant(room: Room, client: str, *targets: str) -> dict:
    body = {"objectType": "BL_VEN_REQUEST", "venName": f"ven-{client}", "clientID": client, "targets": list(targets)}
    status, made = await room.call("bl", "POST", "/vens", body)
    assert status == 201, made
    return made


def subscription(url: str, **more: Any) -> dict:
    wish = {"objects": ["EVENT"], "operations": ["CREATE"], "callbackUrl": url, "bearerToken": "very-secret"}
    return {"clientName": "c", "objectOperations": [wish], **more}
