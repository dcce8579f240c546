// Says beside the button why a passkey did not work; the libraries would only tell the console.
document.addEventListener('allauth.error', (event) => {
  const place = document.querySelector('[data-passkey-problem]');
  if (!place) return;
  event.preventDefault();
  const name = event.detail.exception && event.detail.exception.name;
  place.textContent = name === 'InvalidStateError'
    ? 'This device has a passkey for this account already.'
    : 'No passkey was used: it was cancelled, took too long, or this device has none for this hub. You can try again.';
  place.hidden = false;
});
