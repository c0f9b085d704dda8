// Type a review: the model answers as one types.

async function scorerOf(element, data) {
  await unpack(data);
  element.append(document.createElement("p"));
}
