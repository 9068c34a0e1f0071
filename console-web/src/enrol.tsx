import { useEffect, useState } from 'preact/hooks';
import { get, me, post, Problem } from './api';
import { go } from './route';
import type { Me } from './types';

const secret = location.hash.slice(1);

function useAct(act: () => Promise<Me>): [string, (event?: Event) => void, boolean] {
  const [problem, setProblem] = useState('');
  const [busy, setBusy] = useState(false);
  const run = (event?: Event) => {
    event?.preventDefault();
    setBusy(true);
    act().then((who) => { me.value = who; go('/'); }, (e) => { setProblem(e instanceof Problem ? e.says() : String(e)); setBusy(false); });
  };
  return [problem, run, busy];
}

export function Enrol() {
  const [asked, setAsked] = useState<{ name: string; sets_password: boolean } | null>(null);
  const [bad, setBad] = useState('');
  const [password, setPassword] = useState('');
  const [problem, enrol, busy] = useAct(() => post<Me>('/enrol', { secret, password }));
  useEffect(() => {
    history.replaceState(null, '', '/enrol'); // the secret leaves the address bar at once
    post<{ name: string; sets_password: boolean }>('/enrol/ask', { secret })
      .then((link) => { setAsked(link); if (!link.sets_password) enrol(); }, (e) => setBad(e instanceof Problem ? e.says() : String(e)));
  }, []);
  if (bad) return <main class="door"><h1>Tieline</h1><p class="problem" role="alert">{bad}</p><p><a href="/">Sign in</a></p></main>;
  if (!asked || !asked.sets_password) return <main class="door"><h1>Tieline</h1><p>{problem || 'Letting you in …'}</p></main>;
  return (
    <main class="door">
      <h1>Welcome, {asked.name}</h1>
      <form onSubmit={enrol}>
        <label>Choose a password (12 characters or more)
          <input type="password" autocomplete="new-password" minLength={12} required value={password} onInput={(e) => setPassword(e.currentTarget.value)} />
        </label>
        <button disabled={busy}>Enter</button>
        {problem && <p class="problem" role="alert">{problem}</p>}
      </form>
    </main>
  );
}

const refused = (): string => (location.hash.startsWith('#refused=') ? decodeURIComponent(location.hash.slice(9)) : '');

export function SignIn() {
  const [ways, setWays] = useState({ password: true, provider: '', says: '' });
  const { provider } = ways;
  const [said] = useState(refused);
  useEffect(() => {
    if (said) history.replaceState(null, '', '/');
    get<typeof ways>('/sign-in/ways').then(setWays, () => undefined);
  }, []);
  const [name, setName] = useState('');
  const [password, setPassword] = useState('');
  const [problem, enter, busy] = useAct(() => post<Me>('/sign-in', { name, password }));
  return (
    <main class="door">
      <h1>Tieline</h1>
      {said && <p class="problem" role="alert">{said}</p>}
      {provider && <p><a class="wide button" href="/oidc/login" target="_self">Sign in with {provider}</a></p>}
      <form onSubmit={enter}>
        <label>Name<input autocomplete="username" required value={name} onInput={(e) => setName(e.currentTarget.value)} /></label>
        <label>Password<input type="password" autocomplete="current-password" required value={password} onInput={(e) => setPassword(e.currentTarget.value)} /></label>
        <button disabled={busy}>Sign in</button>
        {problem && <p class="problem" role="alert">{problem}</p>}
      </form>
      <p class="quiet">{ways.says}</p>
    </main>
  );
}
