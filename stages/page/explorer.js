// The explorer of the word space.

async function explorerOf(element, data) {
  const arrays = await unpack(data);
  element.textContent = `${arrays.count.shape[0]} words`;
}
