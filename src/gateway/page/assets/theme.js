// Runs before the first paint, so that a chosen theme never flashes.
try {
  const chosen = localStorage.getItem('understudy.theme');
  if (chosen === 'light' || chosen === 'dark') document.documentElement.dataset.theme = chosen;
} catch {
  // Storage is closed to us: the system's choice holds.
}
