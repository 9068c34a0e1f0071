import { useSignal } from '@preact/signals';
import { useEffect, useRef } from 'preact/hooks';
import { get, may, me, post, shell } from './api';
import { Mark } from './parts/mark';
import { step as tourStep } from './parts/tourstep';
import { go } from './route';
import type { Found } from './types';
import { age, clock, day, spaced, zoneName } from './words';

const SCREENS: [string, string, string][] = [
  ['overview', 'Overview', 'see_grid'], ['feeders', 'Feeders', 'see_grid'], ['events', 'Events', 'see_events'],
  ['market', 'Market', 'see_market'], ['alarms', 'Alarms', 'see_grid'], ['settlement', 'Settlement', 'see_money'],
  ['links', 'Protocols', 'see_grid'], ['replay', 'Replay', 'see_grid'], ['audit', 'Audit', 'see_audit'],
];
const PARENT: Record<string, string> = { feeder: 'feeders', trace: 'audit' };

function role(): string {
  const roles = me.value?.roles ?? [];
  return roles.length > 2 ? `${roles.length} roles` : roles.map(spaced).join(', ');
}

export function Header({ word }: { word: string }) {
  const s = shell.value;
  const here = PARENT[word] ?? word;
  return (
    <header>
      <div class="bar">
        <a class="brand" href="/">{s?.utility ?? (me.value?.utility || 'Tieline')}</a>
        <span class={`setting ${s?.setting === 'LIVE' ? '' : 'demo'}`} title="Where commands go: LIVE moves real equipment">{s?.setting ?? me.value?.setting ?? ''}{s && s.speed !== 1 ? ` ×${s.speed}` : ''}</span>
        {may('see_grid') && <span class="authority" title="Who has control, and how the desk works">Authority <b>{s?.authority ?? '…'}</b> · {s?.mode ?? ''}</span>}
        {s?.is_killed && <span class="killed"><Mark priority={1} /> Kill switch pressed</span>}
        {may('see_grid') && <span class="sign" title="Every power on every screen: positive flows from the resource into the grid; a demand reduction is positive">+ into the grid</span>}
        <span class="grow" />
        {may('see_grid') && <Search />}
        {may('see_grid') && (s?.setting ?? 'LIVE') !== 'LIVE' && <button class={`plain${localStorage.getItem('tour') ? '' : ' call'}`} onClick={() => (tourStep.value = 0)}>Tour</button>}
        <Theme />
        {may('see_grid') && <a href="/docs" title="The API, described" aria-label="API documentation">API</a>}
        <span class="who" title={`Signed in as ${me.value?.name}; roles: ${me.value?.roles.map(spaced).join(', ')}`}>{me.value?.name} <small>{role()}</small></span>
        <button class="plain" onClick={() => post('/sign-out').finally(() => { me.value = null; location.assign('/'); })}>Sign out</button>
      </div>
      {may('see_grid') && <div class="bar second">
        <nav aria-label="Screens">
          {SCREENS.filter(([, , action]) => may(action)).map(([id, label]) => (
            <a href={`/${id}`} aria-current={here === id ? 'page' : undefined}>{label}</a>
          ))}
        </nav>
        <span class="grow" />
        <Health />
        <span class="now" title={`Server time, ${s?.zone ?? ''}`}>{s ? `${day(s.now_ns)} ` : ''}<b>{s ? clock(s.now_ns) : '--:--:--'}</b> {zoneName()}</span>
      </div>}
      <TopAlarms />
    </header>
  );
}

function Health() {
  const s = shell.value;
  if (!s) return null;
  const off = s.links.filter((link) => link.state !== 'live');
  const word = off.some((link) => link.state === 'down') ? 'down' : off.some((link) => link.state === 'waiting') ? 'waiting' : 'degraded';
  const old = s.data_age_s === null || s.data_age_s > 180;
  return (
    <span class="health">
      <span class={old ? 'staleword' : ''} title="Age of the newest measurement">data {s.data_age_s === null ? 'unknown' : `${age(s.data_age_s)} old`}</span>
      <a href="/links" title={s.links.map((link) => `${link.name}: ${link.state}`).join('\n')}>
        {off.length ? <><Mark priority={word === 'down' ? 2 : 3} /> {off.filter((link) => link.state === word).length} of {s.links.length} links {word}</> : `${s.links.length} links live`}
      </a>
      <span title={`${s.journal_seq} records`}>{s.journal_is_healthy ? 'journal ok' : <><Mark priority={1} /> journal failed</>}</span>
      <span>{s.market_is_live ? 'market live' : <><Mark priority={3} /> no market</>}</span>
    </span>
  );
}

function TopAlarms() {
  const open = (shell.value?.alarms ?? []).filter((alarm) => !alarm.is_acknowledged).slice(0, 2);
  if (!open.length) return null;
  return (
    <div class="topalarms" role="status" aria-label="Unacknowledged alarms">
      {open.map((alarm) => (
        <a href={alarm.link} key={alarm.id}>
          <Mark priority={alarm.priority} /> <b>{alarm.subject}</b> <span>{alarm.title}</span> <span class="fix">{alarm.action} →</span>
        </a>
      ))}
      <a class="all" href="/alarms">All alarms</a>
    </div>
  );
}

function Theme() {
  const dark = useSignal(localStorage.getItem('theme') ?? (matchMedia('(prefers-color-scheme: dark)').matches ? 'dark' : 'light'));
  useEffect(() => {
    document.documentElement.dataset.theme = dark.value;
    localStorage.setItem('theme', dark.value);
    dispatchEvent(new Event('theme'));
  }, [dark.value]);
  const other = dark.value === 'dark' ? 'light' : 'dark';
  return <button class="plain" onClick={() => (dark.value = other)} aria-label={`Use the ${other} palette`}>{other === 'dark' ? 'Dark' : 'Light'}</button>;
}

function Search() {
  const text = useSignal('');
  const found = useSignal<Found[]>([]);
  const at = useSignal(0);
  const box = useRef<HTMLInputElement>(null);
  useEffect(() => {
    const press = (event: KeyboardEvent) => {
      if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === 'k') {
        event.preventDefault();
        box.current?.focus();
        box.current?.select();
      }
    };
    addEventListener('keydown', press);
    return () => removeEventListener('keydown', press);
  }, []);
  useEffect(() => {
    const wanted = text.value.trim();
    if (!wanted) { found.value = []; return; }
    const timer = setTimeout(() => get<Found[]>(`/search?count=12&text=${encodeURIComponent(wanted)}`).then((hits) => { found.value = hits; at.value = 0; }, () => (found.value = [])), 120);
    return () => clearTimeout(timer);
  }, [text.value]);
  const choose = (hit?: Found) => {
    if (!hit) return;
    text.value = '';
    box.current?.blur();
    go(hit.link);
  };
  const press = (event: KeyboardEvent) => {
    if (event.key === 'ArrowDown') { at.value = Math.min(at.value + 1, found.value.length - 1); event.preventDefault(); }
    if (event.key === 'ArrowUp') { at.value = Math.max(at.value - 1, 0); event.preventDefault(); }
    if (event.key === 'Enter') choose(found.value[at.value]);
    if (event.key === 'Escape') { text.value = ''; box.current?.blur(); }
  };
  const open = found.value.length > 0;
  return (
    <div class="search">
      <input ref={box} type="search" list={undefined} role="combobox" aria-expanded={open} aria-controls="hits" aria-autocomplete="list" aria-label="Find a resource or screen (Ctrl-K)" placeholder="Find  Ctrl-K" value={text.value} onInput={(e) => (text.value = e.currentTarget.value)} onKeyDown={press}
        aria-activedescendant={open ? `hit-${at.value}` : undefined} />
      <ul id="hits" role="listbox" aria-label="Hits" hidden={!open}>
        {found.value.map((hit, n) => (
          <li id={`hit-${n}`} role="option" aria-selected={n === at.value} onMouseDown={(e) => { e.preventDefault(); choose(hit); }}>
            <b>{hit.id}</b> <span>{spaced(hit.kind)}</span>
          </li>
        ))}
      </ul>
    </div>
  );
}
