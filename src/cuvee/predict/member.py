"""A member of an ensemble, and the ways to make one, each through the adapter of its library."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, TypedDict, Unpack

from cuvee.predict.rows import Reads
from cuvee.predict.trained import Label, Missing, Output, Trained

if TYPE_CHECKING:
    import os

    from cuvee.predict.members.causal import Length


class Common(TypedDict, total=False):
    """What every way to make a member takes besides.

    name: what it is called; after its class, file or folder without one.
    reads: the column, or the columns, that it reads; the rows as they are without.
    label_map: its label → the ensemble's; labels that are not there mean themselves.
    missing: what is done about classes of the ensemble that it does not know (`cuvee.predict.trained.Missing`).
    """

    name: str | None
    reads: Reads
    label_map: Mapping[Label, Label] | None
    missing: Missing


class Scaled(Common, total=False):
    """What the ways that can make a regression take besides.

    inverse: of a regression on another scale: its values `[n, 1]` → the ensemble's.
    """

    inverse: Callable[[Any], Any] | None


class Run(TypedDict, total=False):
    """How a model of transformers is run.

    max_length: most tokens of a text; longer ones are cut, which is noted. What the model has positions for without it.
    batch_size: rows run at once; as many as are thought good without it. No answer depends on it.
    sampling_rate: samples per second of sounds that do not say it themselves; the feature extractor's without it.
    dtype: torch name of the dtype that a folder is held in; its own without it.
    device: torch's name of the device that a folder is put on.
    """

    max_length: int | None
    batch_size: int | None
    sampling_rate: int | None
    dtype: str | None
    device: str


class Classifier(Scaled, Run, total=False):
    """What `Member.transformers` and `Member.recipe` take besides the model."""

    classes: Sequence[Label] | None
    embed: bool


@dataclass(frozen=True, eq=False)
class Member(Trained):
    """One member of an ensemble; made by `Member.sklearn`, `Member.transformers` and their like.

    Every way takes `name`, `reads`, `label_map` and `missing` (`Common`); faults are told as `UsageError` where an
    argument is wrong, as `InputError` where the trained thing is: `wrong-member` for one that can be no member at all.
    """

    @classmethod
    def of(cls, trained: Trained) -> Member:
        """What an adapter made, as a member."""
        return cls(**{field.name: getattr(trained, field.name) for field in fields(Trained)})

    @staticmethod
    def sklearn(
        model: Any,
        *,
        classes: Sequence[Label] | None = None,
        output: Output | None = None,
        embed: bool = False,
        **common: Unpack[Scaled],
    ) -> Member:
        """A fitted estimator with scikit-learn's interface: its own, pipelines, LightGBM, XGBoost.

        Classifiers are asked for `predict_proba`; without it for `decision_function`, whose numbers are `scores` and
        never taken for probabilities; without that for `predict`. It can be trained anew (`refit`) unless a part of it
        is frozen. A class that a fold lacks gets 0 from the member trained on it.

        Args:
            model: the fitted estimator.
            classes: names for classes that it only numbers from 0, in the order of its columns: XGBoost knows no
                others. Refused for one that has names of its own.
            output: which of its methods is asked; `logits` for a decision function that is one.
            embed: whether the steps of a pipeline before its last, or its `transform`, give embeddings.
            **common: as for all members.

        Raises:
            UsageError: an argument is wrong.
            InputError: `wrong-member`: it is not fitted, neither classifier nor regressor, or has several outputs.

        Example:
            >>> from sklearn.linear_model import LogisticRegression
            >>> fitted = LogisticRegression().fit([[0.0], [1.0], [2.0], [3.0]], ["no", "no", "yes", "yes"])
            >>> Member.sklearn(fitted, name="lr").classes
            ('no', 'yes')
        """
        from cuvee.predict.members.scikit import trained_of

        return Member.of(trained_of(model, classes=classes, output=output, embed=embed, **common))

    @staticmethod
    def transformers(model: str | os.PathLike[str] | Any, reader: Any = None, **settings: Unpack[Classifier]) -> Member:
        """A classifier of transformers: of texts or pairs of texts, words, pictures or sounds; or a regression.

        A model in memory is put in evaluation mode. Its answers do not depend on what else is asked in the same call:
        padding is masked, sounds are never padded to another's length. Classes are those of `config.id2label`; a head
        with one output gives values. A token classifier's rows are words (`cuvee.predict.word_rows`).

        Args:
            model: a checkpoint folder, `base+adapter` or the folder of an adapter, or the model itself.
            reader: its tokenizer, image processor or feature extractor; that of the folder without it.
            **settings: as for all members; `classes`: names in the order of its columns, where its configuration says
                LABEL_0; `embed`: whether it gives embeddings too, the mean of its last hidden states; and `Run`.

        Raises:
            UsageError: an argument is wrong; transformers is not installed.
            InputError: `model-missing`, `bad-config`: the folder; `no-tokenizer`; `wrong-member`: it is no classifier,
                gives several labels or values to a row, or has no processor.
        """
        from cuvee.execute.adapting import adapted_recipe
        from cuvee.predict.members import hugging

        if (adapted := adapted_recipe(model)) is not None:
            return Member.recipe(adapted, **settings)
        how, rest = _parted(settings)
        return Member.of(hugging.trained_of(model, reader, settings=hugging.Settings(**how), **rest))

    @staticmethod
    def causal(
        model: str | os.PathLike[str] | Any,
        tokenizer: Any = None,
        *,
        classes: Sequence[Label] | Mapping[Label, str],
        template: str,
        join: str = " ",
        length: Length = "tokens",
        max_length: int | None = None,
        batch_size: int | None = None,
        dtype: str | None = None,
        device: str = "cpu",
        **common: Unpack[Common],
    ) -> Member:
        """A causal language model as a classifier: the class whose name it finds likeliest behind a prompt.

        Args:
            model: a checkpoint folder, or the model itself.
            tokenizer: that of the folder without it.
            classes: labels, or label → what it is called behind the prompt.
            template: the prompt, with `{column}` where a column of the row belongs; `{text}` for the only one.
            join: what stands between prompt and class.
            length: what log-likelihoods are divided by: the class's `tokens`, its `bytes`, or `none`.
            max_length: most tokens; the start of a longer prompt is cut, which is noted.
            batch_size: as for `Member.transformers`.
            dtype: likewise.
            device: likewise.
            **common: as for all members.

        Raises:
            UsageError: an argument is wrong; transformers is not installed.
            InputError: `model-missing`, `wrong-member`, `no-tokenizer`.
        """
        from cuvee.predict.members.causal import trained_of

        told = {"template": template, "join": join, "length": length, "max_length": max_length}
        run = {"batch_size": batch_size, "dtype": dtype, "device": device}
        return Member.of(trained_of(model, tokenizer, classes=classes, **told, **run, **common))  # type: ignore[arg-type]

    @staticmethod
    def onnx(
        file: str | os.PathLike[str],
        *,
        classes: Sequence[Label] | None = None,
        output: Output | None = None,
        output_name: str | None = None,
        threads: int | None = None,
        **common: Unpack[Scaled],
    ) -> Member:
        """An ONNX file, run by onnxruntime on the processor.

        Its input is one matrix, or a column for each of several inputs by name. Numbers are cast to what it asks for;
        rounding to float32 is said in the member's `notes`, integers that would change are refused.

        Args:
            file: the file.
            classes: labels in the order of its columns; those that `cuvee.predict.stamp_onnx` wrote without.
            output: what its answers mean; by the output's name without it.
            output_name: which of its outputs answers; the one called `probabilities`, `logits` or so, or the only one.
            threads: threads of one call; as many as onnxruntime likes without it.
            **common: as for all members.

        Raises:
            UsageError: an argument is wrong, or its classes are not known; onnxruntime is not installed.
            InputError: `model-missing`; `not-a-checkpoint`: it is no ONNX file.
        """
        from cuvee.predict.members.onnx import trained_of

        told = {"classes": classes, "output": output, "output_name": output_name, "threads": threads}
        return Member.of(trained_of(file, **told, **common))  # type: ignore[arg-type]

    @staticmethod
    def callable(
        function: Callable[[Any], Any],
        *,
        classes: Sequence[Label] = (),
        output: Output | None = None,
        refit: Callable[[Any, Any], Callable[[Any], Any]] | None = None,
        embed: Callable[[Any], Any] | None = None,
        whole: bool = False,
        **common: Unpack[Scaled],
    ) -> Member:
        """Any function of rows.

        Args:
            function: what it reads of n rows → answers `[n, K]`, `[n]` of labels or values.
            classes: labels in the order of its columns; none for a regression.
            output: what its answers mean; `probabilities` with classes and `values` without.
            refit: rows and their labels → such a function, trained on them.
            embed: what it reads of n rows → embeddings `[n, D]`.
            whole: whether it can say nothing of a row that lacks any of what it reads.
            **common: as for all members.

        Raises:
            UsageError: an argument is wrong.
            InputError: `bad-output`: it is a torch module in training mode.
        """
        from cuvee.predict.members.functions import trained_of

        told = {"classes": classes, "output": output, "refit": refit, "embed": embed, "whole": whole}
        return Member.of(trained_of(function, **told, **common))  # type: ignore[arg-type]

    @staticmethod
    def recipe(
        recipe: str | os.PathLike[str] | Mapping[str, Any] | Any, *, seed: int = 0, **settings: Unpack[Classifier]
    ) -> Member:
        """A merge: a folder that was written, or a recipe that is merged in memory and never written.

        Its answers are those of the folder that merging the recipe would write. `settings["recipe"]` is the recipe.

        Args:
            recipe: a merged folder, or a recipe, a mapping with its keys, or the path of its file.
            seed: seed of random masks.
            **settings: as for `Member.transformers`.

        Raises:
            UsageError, InputError: as `Member.transformers`.
            RecipeError: faults of the recipe.
        """
        from cuvee.predict.members import hugging
        from cuvee.predict.members.recipe import trained_of

        how, rest = _parted(settings)
        return Member.of(trained_of(recipe, seed=seed, settings=hugging.Settings(**how), **rest))

    @staticmethod
    def ensemble(other: Any, **common: Unpack[Scaled]) -> Member:
        """Another ensemble, which answers as it stands when it is asked.

        Args:
            other: what has `task`, `classes`, `predict` and `predict_proba`.
            **common: as for all members.

        Raises:
            InputError: `wrong-member`: it is no such thing.
        """
        from cuvee.predict.members.functions import nested

        return Member.of(nested(other, **common))


def _parted(settings: Classifier) -> tuple[dict[str, Any], dict[str, Any]]:
    """How a model is run, and the rest."""
    how = {key: value for key, value in settings.items() if key in Run.__annotations__}
    return how, {key: value for key, value in settings.items() if key not in how}
