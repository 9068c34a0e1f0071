export function SettlementScreen(_: { name: string }) {
  return <p class="empty">Settlement</p>;
}
