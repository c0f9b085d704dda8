"""The predictor as a package: a folder with a trained model becomes a scikit-learn classifier.

    import firth

    model = firth.load("my-model")
    model.predict(["A lovely film."])          # labels (N,)
    model.predict_proba(["A lovely film."])    # probabilities (N, L), in the order of model.classes_
    model.explain("A lovely film.")            # what each word and n-gram adds to the logit

The folder is written by `python -m tools.export --format hub`; the data/ folder of a run works too.
scikit-learn, 1.6 or newer, is used only if it is installed.
"""

from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from stages.lib.arrays import Float64, Int64
from stages.lib.command import Refusal
from stages.predictor import Contribution, Explanation, Predictor

if TYPE_CHECKING:
    from sklearn.utils import Tags

__all__ = ["Classifier", "Contribution", "Explanation", "Refusal", "load"]

WEIGHTS = ("model.safetensors", "ensemble.safetensors")  # in an exported folder; in the data/ folder of a run


class Classifier:
    """A trained model with the methods of a scikit-learn classifier.

    The files are read when they are first needed. A copy and a pickle hold the folder's name only.
    """

    def __init__(self, folder: str | Path) -> None:
        """`folder` has the files of a model."""
        self.folder = folder

    @cached_property
    def predictor(self) -> Predictor:
        """The predictor behind this classifier. Raises Refusal if the folder has no model."""
        folder = Path(self.folder)
        weights = next((folder / name for name in WEIGHTS if (folder / name).is_file()), folder / WEIGHTS[0])
        paths = (folder / "tokeniser.json", folder / "vocabulary.parquet", weights)
        for path in paths:
            if not path.is_file():
                raise Refusal(
                    f"{path}: no such file; name a folder written by `python -m tools.export --format hub`, "
                    "or the data/ folder of a run"
                )
        return Predictor.load(*paths)

    @cached_property
    def _order(self) -> Int64:
        """The label numbers in the order of `classes_`, (L,)."""
        order: Int64 = np.argsort(np.array(self.predictor.labels))
        return order

    @property
    def classes_(self) -> NDArray[np.str_]:
        """The labels (L,), sorted as scikit-learn sorts them."""
        classes: NDArray[np.str_] = np.array(self.predictor.labels)[self._order]
        return classes

    def predict_proba(self, texts: Iterable[str]) -> Float64:
        """The calibrated probabilities (N, L) of the labels, in the order of `classes_`."""
        probabilities: Float64 = self.predictor.probabilities(as_texts(texts))[:, self._order]
        return probabilities

    def predict_log_proba(self, texts: Iterable[str]) -> Float64:
        """The logarithms of the probabilities, (N, L)."""
        logarithms: Float64 = np.log(self.predict_proba(texts))
        return logarithms

    def predict(self, texts: Iterable[str]) -> NDArray[np.str_]:
        """The predicted labels (N,). With two labels the model's threshold decides."""
        labels: NDArray[np.str_] = np.array(self.predictor.labels)[self.predictor.predict(as_texts(texts))]
        return labels

    def score(self, texts: Iterable[str], labels: Iterable[str], sample_weight: Any = None) -> float:
        """The accuracy, weighted by `sample_weight` (N,) if it is given."""
        correct = self.predict(texts) == np.asarray(labels)
        return float(np.average(correct, weights=sample_weight))

    def explain(self, text: str, label: str | None = None) -> Explanation:
        """How the logit of a label comes about: the bias and all contributions sum to it.

        By default `stages.predictor.Predictor.explain` chooses the label. Raises ValueError if the model
        has no such label.
        """
        if label is not None and label not in self.predictor.labels:
            raise ValueError(f"label: found {label!r}, expected one of {', '.join(self.predictor.labels)}")
        number = None if label is None else self.predictor.labels.index(label)
        return self.predictor.explain(as_texts([text])[0], number)

    def fit(self, texts: Iterable[str], labels: Iterable[str] | None = None) -> "Classifier":
        """Returns the classifier unchanged: the model is trained already.

        Pipelines and cross-validation call this. Raises ValueError if `labels` has one that the model
        cannot predict, since another model is needed then.
        """
        if unknown := sorted(set(map(str, labels if labels is not None else ())) - set(self.classes_)):
            raise ValueError(f"labels: found {unknown[0]!r}; the model predicts {', '.join(self.classes_)}")
        return self

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """The arguments that make an equal classifier."""
        return {"folder": self.folder}

    def set_params(self, **params: Any) -> "Classifier":
        """Changes the folder. Raises ValueError on any other name."""
        if unknown := sorted(set(params) - {"folder"}):
            raise ValueError(f"{unknown[0]}: no such parameter; allowed: folder")
        self.__dict__ = self.get_params() | params  # without what was read from the former folder
        return self

    def __getstate__(self) -> dict[str, Any]:
        return self.get_params()

    def __repr__(self) -> str:
        return f"Classifier(folder={str(self.folder)!r})"

    def __sklearn_tags__(self) -> "Tags":
        from sklearn.utils import ClassifierTags, InputTags, Tags, TargetTags

        return Tags(
            estimator_type="classifier",
            target_tags=TargetTags(required=False),
            classifier_tags=ClassifierTags(),
            input_tags=InputTags(one_d_array=True, two_d_array=False, string=True),
            requires_fit=False,
        )


def load(folder: str | Path) -> Classifier:
    """The classifier in a folder. Raises Refusal if the files are missing, or of different runs."""
    classifier = Classifier(folder)
    _ = classifier.predictor  # read now, so that a wrong folder is refused here
    return classifier


def as_texts(texts: Iterable[str]) -> list[str]:
    """Texts as a list. Raises TypeError if `texts` is one text, or a table, or contains something else.

    >>> as_texts(("A film.", ""))
    ['A film.', '']
    """
    if isinstance(texts, str) or getattr(texts, "ndim", 1) != 1:
        raise TypeError(f"found {type(texts).__name__}, expected a list or a column of texts")
    listed = list(texts)
    for number, text in enumerate(listed):
        if not isinstance(text, str):
            raise TypeError(f"text {number}: found {text!r:.40}, expected str; an empty text is ''")
    return listed
