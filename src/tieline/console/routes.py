"""Every route of the API under /api/v1."""

from __future__ import annotations

from msgspec import Struct

from tieline.console import twice
from tieline.console.accounts_api import ACCOUNT_ROUTES
from tieline.console.auth.roles import Action
from tieline.console.capability_api import CAPABILITY_ROUTES
from tieline.console.contracts_api import CONTRACT_ROUTES
from tieline.console.done import Done, done, done_to_devices
from tieline.console.envelopes_api import ENVELOPE_ROUTES
from tieline.console.inverters_api import INVERTER_ROUTES
from tieline.console.problems import LATER, Problem, good
from tieline.console.table import AT, Call, Route
from tieline.console.trading_api import TRADING_ROUTES
from tieline.console.twice import MOST_BECAUSE
from tieline.console.waiting_api import WAITING_ROUTES
from tieline.desk import desk_views as d
from tieline.desk import views as v
from tieline.desk.event_views import EventProgram, EventView
from tieline.desk.facts import KINDS
from tieline.desk.modes import FeederMode
from tieline.desk.resource_views import OwnerMoney, ResourceView
from tieline.desk.screens import AskLimit, Columns, ComposeEvent, ExtendEvent, Ingested, OwnerLimit, SetMode
from tieline.errors import Error
from tieline.resource.claim import Refusal

MEMBER_ORDERS = ("worst", "grid")
PROTOCOLS = ("dnp3", "ews", "iso_web", "modbus", "mqtt", "openadr")
"""What the protocol monitor can show alone."""


class Step(Struct, frozen=True, forbid_unknown_fields=True):
    """A step of an event's life: Submitted, Approved, Denied or Canceled."""

    to: str


class Pressed(Struct, frozen=True, forbid_unknown_fields=True):
    """Whether the kill switch is to be pressed, and why."""

    pressed: bool
    because: str


async def _shell(call: Call) -> v.Shell:
    return call.desk.reader.shell()


async def _overview(call: Call) -> v.Overview:
    return call.desk.reader.overview()


async def _series(call: Call) -> v.Series:
    return call.desk.reader.series()


async def _fleet(call: Call) -> v.FleetGrid:
    return call.desk.reader.fleet()


async def _members(call: Call) -> list[v.Member]:
    at, count = call.number("at", 0, 0, 10_000_000), call.number("count", 100, 1, 1_000)
    return call.desk.reader.members(call.path("group"), at, count, call.word("order", MEMBER_ORDERS) or "worst")


async def _resource(call: Call) -> ResourceView:
    return call.desk.reader.resource(call.path("resource"))


async def _why(call: Call) -> d.WhyView:
    await call.desk.reader.caught_up()
    return call.desk.reader.why(call.path("resource"))


async def _trace(call: Call) -> d.TraceView:
    await call.desk.reader.caught_up()
    return call.desk.reader.trace(call.path("record"))


async def _feeder(call: Call) -> d.FeederView:
    return call.desk.reader.feeder(call.path("feeder"))


async def _links(call: Call) -> list[v.LinkView]:
    return call.desk.reader.links()


async def _kept(call: Call) -> d.KeptSpan:
    return call.desk.reader.kept()


async def _messages(call: Call) -> list[d.MessageView]:
    protocol = call.word("protocol", PROTOCOLS)
    return call.desk.reader.messages(protocol, call.number("count", 50, 1, 200))


async def _alarms(call: Call) -> list[v.AlarmView]:
    return call.desk.reader.alarms()


async def _suppressed(call: Call) -> list[v.SuppressedAlarm]:
    return call.desk.reader.suppressed()


async def _events(call: Call) -> list[EventView]:
    return call.desk.reader.events()


async def _programs(call: Call) -> list[EventProgram]:
    return call.desk.operator.programs()


async def _preview(call: Call) -> d.EventPreview:
    answer: d.EventPreview = good(call.desk.reader.preview(call.body))
    return answer


async def _market(call: Call) -> d.MarketView:
    return call.desk.reader.market()


async def _settlement(call: Call) -> d.SettlementView:
    return call.desk.reader.settlement()


async def _audit(call: Call) -> d.AuditView:
    before, count = call.number("before", 0, 0, 2**62), call.number("count", 100, 1, 500)
    each, check = call.number("all", 0, 0, 1) == 1, call.number("check", 0, 0, 1) == 1
    return await call.desk.reader.audit(before, count, call.word("kind", KINDS), each, check)


async def _search(call: Call) -> list[d.Found]:
    return call.desk.reader.search(call.text("text", 100), call.number("count", 20, 1, 100))


async def _readings(call: Call) -> Ingested:
    intake = call.desk.intake
    if intake is None:
        raise Problem(503, "no readings are taken here: a demonstration makes its own; send them to `tieline serve`")
    sent = call.request.headers.get("content-type", "")
    if sent.partition(";")[0].strip().lower() != "application/json":
        raise Problem(415, "send application/json", field="content-type", value=sent[:80])
    scope = call.who.scope if call.who else frozenset()
    try:
        answer = await intake.accept(await call.request.body(), scope)
    except Error as error:
        raise Problem(503, str(error), LATER) from error
    if isinstance(answer, Refusal):
        raise Problem(422, answer.reason, field=answer.field, value=answer.value, limit=answer.limit)
    return answer


async def _acknowledge(call: Call) -> Done:
    return done(await call.desk.operator.acknowledge(call.path("alarm"), call.name))


async def _compose(call: Call) -> EventView:
    answer: EventView = good(await call.desk.operator.compose(call.body, call.name, call.key))
    return answer


async def _submit(call: Call) -> EventView:
    return await _step(call, "Submitted")


async def _approve(call: Call) -> EventView:
    return await _decide(call, "Approved")


async def _deny(call: Call) -> EventView:
    return await _decide(call, "Denied")


async def _extend(call: Call) -> EventView:
    minutes = call.body.minutes
    answer: EventView = good(await call.desk.operator.extend(call.path("event"), minutes, call.name))
    return answer


async def _owner_limit(call: Call) -> Done:
    return done_to_devices(call, await call.desk.operator.owner_limit(call.path("resource"), call.body, call.name))


async def _owner_release(call: Call) -> Done:
    return done(await call.desk.operator.owner_limit(call.path("resource"), None, call.name))


async def _earned(call: Call) -> list[OwnerMoney]:
    return call.desk.reader.earned(call.path("resource"))


async def _cancel(call: Call) -> EventView:
    return await _step(call, "Canceled")


async def _decide(call: Call, to: str) -> EventView:
    found = next((event for event in call.desk.reader.events() if event.id == call.path("event")), None)
    if found is not None:
        twice.require_another(call, found.composed_by)
    return await _step(call, to)


async def _step(call: Call, to: str) -> EventView:
    answer: EventView = good(await call.desk.operator.advance(call.path("event"), to, call.name))
    return answer


async def _limit(call: Call) -> Done:
    if len(call.body.because) > MOST_BECAUSE:
        raise Problem(422, "a reason is short", field="because", limit=f"up to {MOST_BECAUSE} characters")
    return done_to_devices(call, await call.desk.operator.limit(call.path("resource"), call.body, call.name))


async def _release(call: Call) -> Done:
    return Done(bool(good(await call.desk.operator.release(call.path("resource"), call.name))))


async def _opt_out(call: Call) -> Done:
    return done_to_devices(call, await call.desk.operator.opt(call.path("resource"), True, call.name))


async def _opt_in(call: Call) -> Done:
    return done(await call.desk.operator.opt(call.path("resource"), False, call.name))


async def _kill(call: Call) -> Done:
    if not 0 < len(call.body.because.strip()) <= MOST_BECAUSE:
        raise Problem(422, "the switch moves with a reason", field="because", limit=f"1 to {MOST_BECAUSE} characters")
    if not call.body.pressed and not call.desk.reader.shell().is_killed:
        return Done(False, says="the kill switch is not pressed: nothing is released")
    moves = call.body.pressed != call.desk.reader.shell().is_killed
    made = done(await call.desk.operator.kill(call.body.pressed, call.name))
    if moves:
        call.desk.second.void(Action.KILL)  # a release that waited was asked of the press before
    return made


async def _set_mode(call: Call) -> Done:
    feeder, body = call.path("feeder"), call.body
    if body.mode not in set(FeederMode):
        raise Problem(422, "not a mode", field="mode", value=body.mode[:40], limit=", ".join(FeederMode))
    return done(await call.desk.operator.set_mode(feeder, body.mode, body.because, call.name))


_A = "/api/v1"
_PAGE = (
    ("at", "First device, 0 or more"), ("count", "1 to 1000"),
    ("order", "`worst` (default): abnormal first, as devices are now; `grid`: the order of the fleet's cells"),
)  # fmt: skip
_AUDIT = (
    ("before", "Records before this number; 0: the newest"), ("count", "1 to 500"),
    ("kind", "Each record of this kind"),
    ("all", "1: each record; 0: acts, and renewals rolled up"), ("check", "1: verify the whole hash chain"),
)  # fmt: skip

ROUTES: tuple[Route, ...] = (
    *ACCOUNT_ROUTES,
    *TRADING_ROUTES,
    *CAPABILITY_ROUTES,
    *CONTRACT_ROUTES,
    *ENVELOPE_ROUTES, *INVERTER_ROUTES,
    Route("GET", f"{_A}/shell", Action.SEE_GRID, _shell, "What stands on every page", v.Shell),
    Route("GET", f"{_A}/overview", Action.SEE_GRID, _overview, "The first screen", v.Overview),
    Route("GET", f"{_A}/series", Action.SEE_GRID, _series, "Instructed and delivered, a day by the minute", v.Series),
    Route("GET", f"{_A}/fleet", Action.SEE_GRID, _fleet, "State and loading of every device, in bytes", v.FleetGrid),
    Route(
        "GET", f"{_A}/groups/{{group}}/members", Action.SEE_GRID, _members, "Devices of a group, abnormal first",
        list[v.Member], query=_PAGE,
    ),
    Route(
        "GET", f"{_A}/resources/{{resource}}", Action.SEE_RESOURCE, _resource, "One resource, two views, one revision",
        ResourceView, subject="resource",
    ),
    Route(
        "GET", f"{_A}/resources/{{resource}}/why", Action.SEE_TRACE, _why, "Who controls it, and the chain behind",
        d.WhyView, query=(AT,), subject="resource",
    ),
    Route(
        "POST", f"{_A}/resources/{{resource}}/limit", Action.LIMIT, _limit, "Limit a resource for a while", Done,
        AskLimit, subject="resource", two=twice.wide,
    ),
    Route(
        "POST", f"{_A}/resources/{{resource}}/release", Action.LIMIT, _release, "Take the operator's limit back", Done,
        subject="resource", act="release_limit",
    ),
    Route(
        "POST", f"{_A}/resources/{{resource}}/opt-out", Action.OPT, _opt_out,
        "Take a device, or all behind a site of one owner, out for its owner", Done, subject="resource", act="opt_out",
        two=twice.wide_out,
    ),
    Route(
        "POST", f"{_A}/resources/{{resource}}/opt-in", Action.OPT, _opt_in,
        "Take a device back in, or all behind a site that was taken out as one", Done, subject="resource",
        act="opt_in",
    ),
    Route(
        "POST", f"{_A}/resources/{{resource}}/owner-limit", Action.OPT, _owner_limit,
        "Limit a device for its owner until he takes it back", Done, OwnerLimit, subject="resource",
        act="owner_limit",
    ),
    Route(
        "POST", f"{_A}/resources/{{resource}}/owner-release", Action.OPT, _owner_release,
        "Take the owner's limit back", Done, subject="resource", act="owner_release",
    ),
    Route(
        "GET", f"{_A}/resources/{{resource}}/earned", Action.SEE_RESOURCE, _earned, "What its owner has earned",
        list[OwnerMoney], subject="resource",
    ),
    Route("GET", f"{_A}/trace/{{record}}", Action.SEE_TRACE, _trace, "What led to it, what followed", d.TraceView),
    Route("GET", f"{_A}/feeders/{{feeder}}", Action.SEE_GRID, _feeder, "A feeder's one-line and limits", d.FeederView),
    Route(
        "POST", f"{_A}/feeders/{{feeder}}/mode", Action.SET_MODE, _set_mode, "Set who may move a feeder's devices",
        Done, SetMode, subject="feeder", two=twice.wide_mode,
    ),
    Route("GET", f"{_A}/links", Action.SEE_GRID, _links, "Health of each link", list[v.LinkView]),
    Route(
        "POST", f"{_A}/readings", Action.SEND_READINGS, _readings, "Send readings; a demonstration takes none",
        Ingested, Columns, is_raw=True,
    ),
    Route("GET", f"{_A}/past", Action.SEE_GRID, _kept, "Which past instants `as_of` can show", d.KeptSpan),
    Route(
        "GET", f"{_A}/messages", Action.SEE_MESSAGES, _messages, "Messages that carried decisions, decoded and raw",
        list[d.MessageView], query=(("protocol", f"Only one of {', '.join(PROTOCOLS)}"), ("count", "1 to 200")),
    ),
    Route("GET", f"{_A}/alarms", Action.SEE_GRID, _alarms, "Standing alarms, worst first", list[v.AlarmView]),
    Route(
        "GET", f"{_A}/alarms/suppressed", Action.SEE_GRID, _suppressed, "Alarms that are held back, and why",
        list[v.SuppressedAlarm],
    ),
    Route(
        "POST", f"{_A}/alarms/{{alarm}}/acknowledge", Action.ACKNOWLEDGE, _acknowledge, "Acknowledge an alarm", Done,
        subject="alarm",
    ),
    Route("GET", f"{_A}/events", Action.SEE_EVENTS, _events, "Program events, the newest first", list[EventView]),
    Route(
        "GET", f"{_A}/programs", Action.SEE_EVENTS, _programs, "Under which programs events may be called",
        list[EventProgram],
    ),
    Route(
        "POST", f"{_A}/events/preview", Action.COMPOSE_EVENT, _preview, "What an event would do; nothing happens",
        d.EventPreview, ComposeEvent, act="preview_event",
    ),
    Route(
        "POST", f"{_A}/events", Action.COMPOSE_EVENT, _compose, "Compose an event", EventView, ComposeEvent,
        is_once=True,
    ),
    Route(
        "POST", f"{_A}/events/{{event}}/submit", Action.COMPOSE_EVENT, _submit, "Submit an event for approval",
        EventView, subject="event", act="submit_event",
    ),
    Route(
        "POST", f"{_A}/events/{{event}}/approve", Action.DECIDE_EVENT, _approve, "Approve: a second person",
        EventView, subject="event", act="approve_event",
    ),
    Route(
        "POST", f"{_A}/events/{{event}}/deny", Action.DECIDE_EVENT, _deny, "Deny: a second person", EventView,
        subject="event", act="deny_event",
    ),
    Route(
        "POST", f"{_A}/events/{{event}}/cancel", Action.CANCEL_EVENT, _cancel, "Cancel; what held before holds again",
        EventView, subject="event",
    ),
    Route(
        "POST", f"{_A}/events/{{event}}/extend", Action.DECIDE_EVENT, _extend, "Let an event last longer: two people",
        EventView, ExtendEvent, subject="event", two=twice.lasts_longer, act="extend_event",
    ),
    Route("GET", f"{_A}/market", Action.SEE_MARKET, _market, "The market desk", d.MarketView),
    Route("GET", f"{_A}/settlement", Action.SEE_MONEY, _settlement, "Statements and intervals", d.SettlementView),
    Route("GET", f"{_A}/audit", Action.SEE_AUDIT, _audit, "Acts and renewals in words", d.AuditView, query=_AUDIT),
    Route(
        "GET", f"{_A}/search", Action.SEE_GRID, _search, "Find resources, groups, screens", list[d.Found],
        query=(("text", "What to find"), ("count", "1 to 100")),
    ),
    Route(
        "POST", f"{_A}/kill", Action.KILL, _kill, "Press the kill switch; two people release it", Done, Pressed,
        two=twice.releases,
    ),
    *WAITING_ROUTES,
)  # fmt: skip
