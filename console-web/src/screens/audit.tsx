export function AuditScreen(_: { name: string }) {
  return <p class="empty">Audit</p>;
}
