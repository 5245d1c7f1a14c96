"""What a person should know of a caption stands beside it."""

from PIL import Image

from blipvqa import describe, fine_tune, load_model, load_splits
from blipvqa.captions.pictures import word_maps
from blipvqa.data.one_colour import SHOWS_NOTHING
from blipvqa.pages.html import escape


def test_a_caption_has_notes_as_an_answer_has(tiny):
    """A prompt of unknown letters was read as [UNK], unsaid; so was a picture on which nothing can be seen."""
    run = fine_tune(tiny("captions", task="caption", train__epochs=0))
    model, processor = load_model(str(run.model_folder), run.config)
    picture = load_splits(run.config)["test"].image(0)
    grey, settings = Image.new("RGB", (9, 9), "grey"), run.config.caption
    plain, other = describe(model, processor, [picture, grey], "a 腺体 of", settings)
    unknown = "this model's vocabulary has no word for “腺体”: it read nothing there"
    assert plain.notes[:1] == [unknown] and other.notes[:2] == [SHOWS_NOTHING, unknown]
    assert escape(unknown) in word_maps(plain)
    cut = describe(model, processor, picture, settings=settings.model_copy(update={"max_length": 6}))
    assert cut.notes == ["the caption stops at caption.max_length, before the model ended it"]
    assert not describe(model, processor, picture, settings=settings).reading
