import { useEffect, useState } from 'preact/hooks';
import { AlarmRates } from '../parts/alarmrate';
import { may, post, Problem, shell, show, toast, views } from '../api';
import { Mark } from '../parts/mark';
import { KillSwitch, WaitingList } from '../parts/second';
import { useView } from '../parts/load';
import type { Alarm, Overview, Suppressed } from '../types';
import { age, clock } from '../words';

export function AlarmsScreen() {
  useEffect(() => show('overview', ...(may('confirm') ? ['waiting'] : [])), []);
  const alarms = views.value.alarms as Alarm[] | undefined;
  const now = shell.value?.now_ns ?? 0;
  const share = (priority: number) => alarms?.filter((alarm) => alarm.priority === priority).length ?? 0;
  const acknowledge = (alarm: Alarm) => post(`/alarms/${encodeURIComponent(alarm.id)}/acknowledge`).catch((e) => (toast.value = e instanceof Problem ? e.says() : String(e)));
  return (
    <div class="screen">
      <WaitingList />
      <section class="panel">
        <h1 class="pad">Alarms <small>each needs an action; what needs none is an event and stands in the audit · priority 1: {share(1)}, 2: {share(2)}, 3: {share(3)}</small></h1>
        {!alarms ? <p class="empty">Waiting …</p> : !alarms.length ? <p class="quiet pad">No alarms. Nothing needs you now.</p> : (
          <div class="scroll" tabIndex={0} role="region" aria-label="Alarms">
            <table>
              <thead><tr><th>Priority</th><th>Since</th><th>Where</th><th>What</th><th>If nobody acts</th><th>Do this</th><th class="n">Within</th><th class="n">Devices</th><th>Acknowledged</th></tr></thead>
              <tbody>{alarms.map((alarm) => (
                <tr key={alarm.id}>
                  <td><Mark priority={alarm.priority} quiet={alarm.is_acknowledged} /></td><td>{clock(alarm.since_ns)} <span class="quiet">{age((now - alarm.since_ns) / 1e9)}</span></td><td><b>{alarm.subject}</b></td>
                  <td>{alarm.title}</td><td>{alarm.consequence}</td><td><a href={alarm.link}>{alarm.action} →</a></td><td class="n">{due(alarm, now)}</td><td class="n">{alarm.count.toLocaleString('en-US')}</td>
                  <td>{alarm.is_acknowledged ? `by ${alarm.acknowledged_by}` : may('acknowledge') ? <button onClick={() => acknowledge(alarm)}>Acknowledge</button> : 'not yet'}</td>
                </tr>
              ))}</tbody>
            </table>
          </div>
        )}
      </section>
      <HeldBack />
      <section class="panel">
        <h2>How the alarm system does <small>ISA-18.2: at most one in 10 min, more than ten is a flood</small></h2>
        <AlarmRates rate={(views.value.overview as Overview | undefined)?.alarm_rate ?? null} height={70} />
      </section>
      <KillSwitch />
    </div>
  );
}

const HOW: Record<string, string> = { rolled_up: 'told as one', by_cause: 'its cause is told', delayed: 'may pass by itself' };

/** Alarms that are found and not shown above, and why; asked for when it is opened. */
function HeldBack() {
  const [open, setOpen] = useState(false);
  return (
    <section class="panel">
      <h2>Held back <small>found, and not shown above: rolled up, explained by another, or not lasting yet · <button class="plain row" aria-expanded={open} onClick={() => setOpen(!open)}>{open ? 'Close the list' : 'Open the list'}</button></small></h2>
      {open && <HeldBackList />}
    </section>
  );
}

function HeldBackList() {
  const { view, problem } = useView<Suppressed[]>('/alarms/suppressed');
  const now = shell.value?.now_ns ?? 0;
  if (problem) return <p class="problem pad">{problem}</p>;
  if (!view) return <p class="empty">Waiting …</p>;
  if (!view.length) return <p class="quiet pad">Nothing is held back.</p>;
  return (
    <div class="scroll" tabIndex={0} role="region" aria-label="Alarms that are held back">
      <table>
        <thead><tr><th>Priority</th><th>Since</th><th>Where</th><th>What</th><th>Held back</th><th>Why</th><th class="n">Devices</th></tr></thead>
        <tbody>{view.map(({ alarm, how, why }) => (
          <tr key={how + alarm.id}>
            <td><Mark priority={alarm.priority} quiet /></td><td>{clock(alarm.since_ns)} <span class="quiet">{age((now - alarm.since_ns) / 1e9)}</span></td><td><a href={alarm.link}>{alarm.subject}</a></td>
            <td>{alarm.title}</td><td>{HOW[how] ?? how}</td><td>{why}</td><td class="n">{alarm.count.toLocaleString('en-US')}</td>
          </tr>
        ))}</tbody>
      </table>
    </div>
  );
}

/** What is left of the time to respond; nothing more to say once somebody has taken it on. */
function due(alarm: Alarm, now: number) {
  const left = alarm.respond_s - (now - alarm.since_ns) / 1e9;
  if (alarm.is_acknowledged) return age(alarm.respond_s);
  return left > 0 ? `${age(left)} left of ${age(alarm.respond_s)}` : <b>{age(-left)} over</b>;
}
