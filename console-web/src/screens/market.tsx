export function MarketScreen(_: { name: string }) {
  return <p class="empty">Market</p>;
}
