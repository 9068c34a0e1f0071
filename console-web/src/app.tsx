import type { ComponentType } from 'preact';
import { useEffect, useLayoutEffect, useState } from 'preact/hooks';
import { connect, connected, get, may, me, past, shell, show, toast } from './api';
import { Enrol, SignIn } from './enrol';
import { Header } from './header';
import { path } from './route';
import { Overview } from './screens/overview';
import { step as tourStep } from './parts/tourstep';
import type { Me } from './types';

type Screen = ComponentType<{ name: string }>;
const LAZY: Record<string, () => Promise<Screen>> = {
  resource: async () => (await import('./screens/resource')).ResourceScreen,
  trace: async () => (await import('./screens/trace')).TraceScreen,
  feeder: async () => (await import('./screens/feeder')).FeederScreen,
  feeders: async () => (await import('./screens/feeders')).FeedersScreen,
  events: async () => (await import('./screens/events')).EventsScreen,
  market: async () => (await import('./screens/market')).MarketScreen,
  alarms: async () => (await import('./screens/alarms')).AlarmsScreen,
  settlement: async () => (await import('./screens/settlement')).SettlementScreen,
  audit: async () => (await import('./screens/audit')).AuditScreen,
  links: async () => (await import('./screens/links')).LinksScreen,
  owner: async () => (await import('./screens/owner')).OwnerScreen,
  replay: async () => (await import('./screens/replay')).ReplayScreen,
  docs: async () => (await import('./screens/docs')).DocsScreen,
};
const loaded: Record<string, Screen> = { overview: Overview as Screen, '': Overview as Screen };

function Body({ word, name }: { word: string; name: string }) {
  const [, redraw] = useState(0);
  const [failed, setFailed] = useState('');
  const Known = loaded[word];
  useEffect(() => {
    if (loaded[word] || !LAZY[word]) return;
    LAZY[word]().then((screen) => { loaded[word] = screen; redraw((n) => n + 1); }, () => setFailed(word));
  }, [word]);
  if (Known) return <Known name={name} />;
  if (!LAZY[word]) return <p class="empty">There is no screen <b>{word}</b>. <a href="/">To the overview</a></p>;
  return <p class="empty">{failed === word ? 'The screen could not be loaded; is the server there?' : 'Loading the screen …'}</p>;
}

function LazyReplay() {
  const [Bar, setBar] = useState<ComponentType | null>(null);
  useEffect(() => { import('./screens/replay').then((m) => setBar(() => m.ReplayBar), () => undefined); }, []);
  return Bar && <Bar />;
}

function LazyTour() {
  const [Tour, setTour] = useState<ComponentType | null>(null);
  useEffect(() => { import('./parts/tour').then((m) => setTour(() => m.default), () => (tourStep.value = -1)); }, []);
  return Tour && <Tour />;
}

export function App() {
  const [, word = '', ...rest] = path.value.split('/');
  const name = decodeURIComponent(rest.join('/'));
  useEffect(() => {
    get<Me>('/me').then((who) => (me.value = who), () => (me.value = null));
  }, []);
  const signedIn = !!me.value;
  useEffect(() => { if (signedIn) connect(); }, [signedIn]);
  // Before the screen's own effect, which names its topics: afterwards it would undo them.
  useLayoutEffect(() => { if (word !== 'overview' && word !== '' && word !== 'owner') show(); }, [word, name]);
  useEffect(() => { document.title = `${word ? word[0].toUpperCase() + word.slice(1) : 'Overview'}${name ? ` ${name}` : ''} · Tieline`; }, [word, name]);
  const home = (word === '' || word === 'overview') && !!me.value && !may('see_grid');
  if (word === 'enrol') return <Enrol />;
  if (me.value === undefined) return <p class="empty">Asking who you are …</p>;
  if (me.value === null) return <SignIn />;
  return (
    <>
      <a class="skip" href="#main" onClick={(e) => { e.stopPropagation(); e.preventDefault(); document.getElementById('main')?.focus(); }}>To the screen</a>
      <Header word={word || 'overview'} />
      {!connected.value && shell.value && <p class="lost" role="status">Connection lost: what you see is old. Trying again …</p>}
      {me.value.says && <p class="problem pad" role="alert">Your account: {me.value.says}.</p>}
      {past.value !== null && <LazyReplay />}
      <main id="main" tabIndex={-1} class={connected.value ? '' : 'stale'}>
        <Body word={home ? 'owner' : word} name={name} />
      </main>
      {tourStep.value >= 0 && <LazyTour />}
      {toast.value && <p class="toast" role="status">{toast.value} <button onClick={() => (toast.value = '')}>Close</button></p>}
    </>
  );
}
