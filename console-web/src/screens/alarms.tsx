export function AlarmsScreen(_: { name: string }) {
  return <p class="empty">Alarms</p>;
}
