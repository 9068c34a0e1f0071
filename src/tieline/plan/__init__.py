"""Optimization, scheduling and dispatch: pure maths over arrays, and forecasts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tieline.exports import lazily

if TYPE_CHECKING:
    from tieline.plan.home import Appliance, Battery, Car, Heater, Home, HomePlan, HomeRefused, plan_home, plan_homes
    from tieline.plan.mixed import Contracts, Feeders, Gensets, Mix, MixedPlan, fair_adders, plan_mixed
    from tieline.plan.pool import Course, GaveWay, PoolPlan, Terms, plan_pool
    from tieline.plan.realtime import Devices, Follower
    from tieline.plan.regulator import Regulated, Regulator
    from tieline.plan.router import engine_of, reasons
    from tieline.plan.stack import Ranks, Stack, tiers
    from tieline.plan.storage import Step, StorePlans, Stores, plan_stores, schedule

__all__ = [
    "Appliance",
    "Battery",
    "Car",
    "Contracts",
    "Course",
    "Devices",
    "Feeders",
    "Follower",
    "GaveWay",
    "Gensets",
    "Heater",
    "Home",
    "HomePlan",
    "HomeRefused",
    "Mix",
    "MixedPlan",
    "PoolPlan",
    "Ranks",
    "Regulated",
    "Regulator",
    "Stack",
    "Step",
    "StorePlans",
    "Stores",
    "Terms",
    "engine_of",
    "fair_adders",
    "plan_home",
    "plan_homes",
    "plan_mixed",
    "plan_pool",
    "plan_stores",
    "reasons",
    "schedule",
    "tiers",
]
_WHERE = {
    "Appliance": "home",
    "Battery": "home",
    "Car": "home",
    "Contracts": "mixed",
    "Course": "pool",
    "Devices": "realtime",
    "Feeders": "mixed",
    "Follower": "realtime",
    "GaveWay": "pool",
    "Gensets": "mixed",
    "Heater": "home",
    "Home": "home",
    "HomePlan": "home",
    "HomeRefused": "home",
    "Mix": "mixed",
    "MixedPlan": "mixed",
    "PoolPlan": "pool",
    "Ranks": "stack",
    "Regulated": "regulator",
    "Regulator": "regulator",
    "Stack": "stack",
    "Step": "storage",
    "StorePlans": "storage",
    "Stores": "storage",
    "Terms": "pool",
    "engine_of": "router",
    "fair_adders": "mixed",
    "plan_home": "home",
    "plan_homes": "home",
    "plan_mixed": "mixed",
    "plan_pool": "pool",
    "plan_stores": "storage",
    "reasons": "router",
    "schedule": "storage",
    "tiers": "stack",
}

if not TYPE_CHECKING:  # a checker knows the names by the imports above
    __getattr__, __dir__ = lazily(__name__, _WHERE)
