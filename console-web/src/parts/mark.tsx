/** An alarm mark: 1 red square, 2 orange triangle, 3 yellow circle; number and shape tell it without colour. */
export function Mark({ priority, quiet = false }: { priority: number; quiet?: boolean }) {
  const shape = priority === 1 ? <rect x="1" y="1" width="14" height="14" /> : priority === 2 ? <path d="M8 0.5 15.8 15H0.2Z" /> : <circle cx="8" cy="8" r="7.2" />;
  return (
    <svg class={`mark p${priority}${quiet ? ' quiet' : ''}`} viewBox="0 0 16 16" width="16" height="16" role="img" aria-label={`priority ${priority}`}>
      {shape}
      <text x="8" y={priority === 2 ? 13.4 : 12.2} text-anchor="middle">{priority}</text>
    </svg>
  );
}
