import { useEffect, useState } from 'preact/hooks';
import { get, past, Problem } from '../api';

/** Return the view at a path, asked anew at each `everyS` seconds, with its problem and a way to ask now; stale: it is still that of another path. */
export function useView<T>(path: string, everyS = 0): { view: T | null; problem: string; stale: boolean; again: () => void } {
  const [view, setView] = useState<T | null>(null);
  const [shows, setShows] = useState(path);
  const [problem, setProblem] = useState('');
  const [turn, setTurn] = useState(0);
  const at = past.value;
  useEffect(() => {
    let over = false;
    get<T>(path).then((got) => { if (!over) { setView(got); setShows(path); setProblem(''); } }, (e) => { if (!over) setProblem(e instanceof Problem ? e.says() : String(e)); });
    const timer = everyS && at === null ? setTimeout(() => setTurn((n) => n + 1), everyS * 1e3) : 0;
    return () => { over = true; clearTimeout(timer); };
  }, [path, turn, at]);
  return { view, problem, stale: shows !== path, again: () => setTurn((n) => n + 1) };
}
