export function EventsScreen(_: { name: string }) {
  return <p class="empty">Events</p>;
}
