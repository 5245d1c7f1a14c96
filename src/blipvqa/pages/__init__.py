"""How anything is shown; nothing here knows a question. In reading order:

- `wording`: a number, its interval, a path, as text
- `html`: markup that is safe, pictures and figures inside a page
- `page`: whole pages from templates
- `tables`: tables from columns and titles
- `gallery`: cards and tables with pictures
- `report`: what every run's report has
- `seeds`: what an interval of one run leaves out, and the spread over seeds
- `figures`: one look for all figures, in which text is only text
- `plots`: the figures that any task uses
- `certainty`: figures of how sure a model is, and how rightly
- `maps`: a map of a picture's patches, drawn over the picture
- `cards`: the Markdown of a model card
- `reporting`: items of two reporting checklists that a run fills by itself
- `spreadsheets`: cells that no spreadsheet calculates
- `verdicts`: sheets for a person's verdicts, out and back
"""
