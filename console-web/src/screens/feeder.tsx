export function FeederScreen(_: { name: string }) {
  return <p class="empty">Feeder</p>;
}
