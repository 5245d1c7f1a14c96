"""Fine-tune BLIP on medical visual question answering, and look at what it learnt. `README.md` shows how.

What the package offers is listed in `__init__.pyi`, and imported when it is first asked for: torch and transformers
take seconds, for which nobody should wait who has mistyped a config's name.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
