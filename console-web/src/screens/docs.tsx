export function DocsScreen(_: { name: string }) {
  return <p class="empty">Docs</p>;
}
