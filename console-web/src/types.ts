// The views of the API (see /api/v1/openapi.json). Powers in W, instants in ns since 1970; null says unknown.
export type Num = number | null;
export interface Me { name: string; roles: string[]; may: string[]; scope: string[]; utility: string; zone: string; setting: string; says: string }
export interface Waiting {
  id: string; action: string; subject: string; by: string; why: string; payload: string; body: Record<string, string>;
  left_minutes: number; done: boolean;
}
export interface Became { state: 'waiting' | 'confirmed' | 'failed' | 'refused' | 'over'; by: string; says: string }
export interface Alarm {
  id: string; priority: number; subject: string; title: string; consequence: string; action: string; respond_s: number;
  link: string; count: number; since_ns: number; is_acknowledged: boolean; acknowledged_by: string;
}
export interface Link {
  name: string; protocol: string; state: string; peers: number; received: number; refused: number; errors: number;
  since_ns: number; last_error: string;
}
export interface Shell {
  utility: string; setting: string; now_ns: number; zone: string; speed: number; revision: number; data_age_s: Num;
  links: Link[]; journal_seq: number; journal_is_healthy: boolean; market_is_live: boolean; authority: string;
  mode: string; is_killed: boolean; devices: number; reporting: number; alarms: Alarm[];
}
export interface FeederRow {
  feeder: string; devices: number; power_w: Num; abnormal: number; limit_low_w: Num; limit_high_w: Num; given_w: Num; limit_given_w: Num;
  min_pu: Num; max_pu: Num; loading_frac: Num; violations: number;
}
export interface Reach { product: string; says: string; reach_s: number; hold_s: number; minutes: number[]; up_w: number[]; down_w: number[] }
export interface AlarmRate { starts_ns: number[]; new: number[]; by_priority: [number, number, number] }
export interface Part { id: string; kind: string; devices: number; power_w: Num; abnormal: number }
export interface Held { lasts_s: number; power_w: number; firm_w: number; rebound_wh: number }
export interface Noticed { notice_s: number; resources: number; energy_wh: Num; ramped_s: Num; held: Held[] }
export interface Capability {
  resource: string; kind: string; revision: number; now_ns: number; devices: number; can_be_called: number; base_w: number;
  called_w: number; is_stopped: boolean; confidence_frac: number; up: Noticed[]; down: Noticed[];
}
export interface LoadForecast {
  pool: string; kind: string; day: string; known_at_ns: number; readings_until_ns: number; model: string; starts_ns: number[];
  mean_w: number[]; low_w: Num[]; high_w: Num[]; skill: Num; wape: Record<string, Num>; coverage_90: Num;
}
export interface AskOffer { id: string; pool: string; start_ns: number; end_ns: number; segments: { power_w: number; price_per_mwh: number }[]; product: string }
export interface OfferReason {
  id: string; expected_price: number; sold_w: number; revenue: number; lacks_w: number; penalty: number; marginal_cost: number;
  clears_frac: number; there_frac: number; room_w: number;
}
export interface Proposal { pool: string; day: string; offers: AskOffer[]; why: string; reasons: OfferReason[] }
export interface OwnerMoney { statement: string; owner: string; start_ns: number; end_ns: number; amount: string; currency: string; version: number }
export interface Contract {
  id: string; owner: string; manager: string; devices: number; resources: string[]; terms_version: number | null; from_ns: number | null;
  to_ns: number | null; products: { product: string; may_call: boolean; why: string }[]; notice_s: number; calls: number; most_calls: number | null;
  hours: number; most_hours: number | null; most_hours_a_call: number | null; least_reserve_frac: number; owner_share_frac: number | null;
  currency: string; words: { at_ns: number; is_given: boolean; products: string[]; by: string; because: string; record: string }[]; out_because: string;
}
export interface Message { seq: number; record: string; at_ns: number; protocol: string; link: string; direction: string; says: string; fields: [string, string][]; raw: string; is_hex: boolean }
export interface Effect {
  feeder: string; devices: number; power_w: Num; after_w: Num; limit_high_w: Num; is_over: boolean; loading_frac: Num;
  loading_after_frac: Num; min_pu: Num; min_after_pu: Num; broken: number; broken_after: number;
}
export interface Suppressed { alarm: Alarm; how: string; why: string; into: string }
export interface Overview {
  revision: number; now_ns: number; pool: string; instructed_w: Num; delivered_w: Num; price_per_mwh: Num;
  owed_until_ns: Num; because: string; available_up_w: Num; available_down_w: Num; net_w: Num; devices: number;
  reporting: number; opt_outs: number; not_responding: number; failed: number; limited: number; alarms_10min: number;
  commitments: { start_ns: number; end_ns: number; power_w: number; price_per_mwh: number; low_w: Num; high_w: Num; likely_w: Num; lacks_w: Record<string, number> }[];
  feeders: FeederRow[]; feeder_count: number; controls: Record<string, number>;
  reach: Reach[]; alarm_rate: AlarmRate | null; violations: Num; is_stopped: boolean; unstopped_up_w: Num; unstopped_down_w: Num;
}
export interface Series { at_ns: number[]; instructed_w: Num[]; delivered_w: Num[]; price_per_mwh: Num[] }
export interface FleetGroup { id: string; first: number; count: number; abnormal: number; states: number[] }
export interface FleetGrid { revision: number; now_ns: number; groups: FleetGroup[]; state: Uint8Array; loading: Uint8Array }
export interface Member { resource: string; kind: string; state: number; power_w: Num; age_s: Num }
export interface Claim {
  id: string; source: string; program: string; level: number; level_name: string; kind: string; low_w: Num; high_w: Num;
  value_w: Num; start_ns: number; end_ns: Num; because: string; outcome: string; why: string;
}
export interface EngineHours { uses: string[]; used_h: number; limit_h: number; left_h: number; warns: boolean; rule: string; source: string }
export interface Engine { jurisdiction: string; location: string; has_permit: boolean; runs_since_ns: Num; runs_as: string; limits: EngineHours[] }
export interface Resource {
  id: string; kind: string; is_group: boolean; revision: number; now_ns: number; devices: number; max_inject_w: number;
  max_absorb_w: number; energy_wh: number; ancestors: { id: string; kind: string; purpose: string }[];
  market: {
    pool: string; product: string; obligation_w: Num; share_w: Num; base_w: Num; delivered_w: Num; price_per_mwh: Num;
    until_ns: Num; because: string; opted_out: boolean; left_out_until_ns: Num; eligible: boolean;
  };
  scada: {
    power_w: Num; quality: string[]; age_s: Num; taken_ns: Num; target_w: number; low_w: number; high_w: number;
    available_up_w: Num; available_down_w: Num; is_local: boolean; mode: string; link: string; target_of: string;
  };
  engine: Engine | null; mismatch: string; waits: string; unresponsive: { strikes: number; last_ns: number; until_ns: number } | null; feeder_mode: string; controls: string; winner: Claim | null; claims: Claim[];
  limits: { level: number; level_name: string; low_w: Num; high_w: Num; holder: string }[];
  conflicts: [string, string][];
  command: {
    batch: string; target_w: Num; low_w: Num; high_w: Num; stage: string; issued_ns: Num; delivered_ns: Num;
    acknowledged_ns: Num; effective_ns: Num; verified_ns: Num; valid_until_ns: Num; revert_w: number; observed_w: Num;
    reached: boolean[];
  } | null;
  stages: Record<string, number>;
  readings: { point: string; says: string; unit: string; value: Num; quality: string[]; age_s: Num; iec61850: string; sunspec: string }[];
  parts: Part[]; part_count: number;
}
export interface Trace {
  start: string; nodes: { id: string; kind: string; subject: string; at_ns: number; says: string; depth: number }[];
  edges: [string, string][]; is_cut: boolean;
}
export interface Feeder {
  id: string; revision: number; now_ns: number; mode: string; row: FeederRow; min_pu_limit: Num; max_pu_limit: Num;
  buses: { id: number; x: number; y: number; voltage_pu: number; der_w: number; net_w: number; devices: number }[];
  branches: { id: string; kind: string; start: number; end: number; loading_frac: number }[];
  violations: { place: string; what: string; value: number; limit: number }[];
  limits: Claim[]; asked: AskedLimit[];
}
export interface AskedLimit {
  resource: string; bounds: string; level: number; level_name: string; source: string; low_w: Num; high_w: Num;
  start_ns: number; end_ns: Num; because: string; record: string; devices: number; caps_low_w: Num; caps_high_w: Num; loads: string;
}
export interface Day {
  pool: string; day: string; start_ns: number; end_ns: number; state: string; awards: number; awarded_wh: number;
  missing: string[]; waits_until_ns: number; statements: { id: string; version: number; total: string; currency: string }[];
}
export interface ProgramEvent {
  id: string; program: string; group: string; strategy: string; start_ns: number; end_ns: number; power_w: number;
  state: string; composed_by: string; approved_by: string; why: string; next: string[];
  reserved_w: number; reserved_wh: number; asked_wh: number; delivered_wh: number;
  called: number; opted_out: number; lacks_wh: Record<string, number>; over_wh: number;
  uncounted: [number, number][]; counted_to_ns: number; unmet: string; equal: string;
}
export interface Preview {
  group: string; devices: number; asked_w: number; can_give_w: number; expected_w: number; opted_out: number;
  unreachable: number; energy_wh: number; rebound_w: number; rebound_says: string; needs_second_person: boolean;
  by_kind: Record<string, number>; minutes: number[]; cost: number; owed_w: number; free_w: number; free_wh: number; held_out: number; limited: number; scheduled: number; unagreed: number; unagreed_why: string; unknown_program: string; asks: string; free_says: string; awards_say: string; warning: string; unmet: string; equal: string; effects: Effect[];
  unenrolled: number; unfit: number; left_out: Record<string, string>;
}
export interface Market {
  revision: number; now_ns: number; pool: string; is_live: boolean; gate_ns: Num; last_batch: string;
  hours: {
    start_ns: number; end_ns: number; forecast_per_mwh: Num; price_per_mwh: Num; offered_w: Num; offer_price_per_mwh: Num;
    awarded_w: Num; instructed_w: Num; delivered_w: Num;
    baseline_w: Num; telemetry_w: Num; imbalance_w: Num; uncounted: [number, number][]; disputed: string[]; left_out: string;
  }[];
  available_up_w: Num; available_down_w: Num; refusals: string[]; is_stopped: boolean; unstopped_up_w: Num; unstopped_down_w: Num;
  schedule: Schedule | null;
}
export interface Schedule {
  made_ns: number; devices: number; cost: number; bound: number; gap_frac: number;
  steps: { start_ns: number; end_ns: number; award_w: number; lacks_w: number; price_per_mwh: number }[];
}
export interface Settlement {
  revision: number; now_ns: number;
  statements: {
    id: string; pool: string; start_ns: number; end_ns: number; rule: string; version: number; total: string;
    currency: string; lines: { id: string; start_ns: number; end_ns: number; kind: string; energy_wh: number; amount: string; cause: string }[];
    by_cause: Record<string, string>; body: { days?: string[]; excluded?: [string, string][]; factor?: number; source?: string; operator?: string; shares?: Record<string, string>; flags?: string[]; shared_by?: Record<string, { milli_wh: number; amount: string; intervals: number }> };
  }[];
  intervals: { start_ns: number; end_ns: number; awarded_w: Num; asked_w: number; delivered_w: number; causes: Record<string, number>; withheld: Record<string, number>; record: string; uncounted: [number, number][] }[];
}
export interface Audit {
  last_seq: number; chain_hash: string; checked: boolean; bad_seq: Num; kinds: string[]; next_before: number;
  rows: { seq: number; id: string; at_ns: number; kind: string; subject: string; says: string; count: number; first_seq: Num; first_ns: Num }[];
}
export interface KeptSpan { first_ns: Num; last_ns: Num; step_ns: number }
export interface Found { id: string; kind: string; link: string; says: string }
