"""Where models come from: ``builtin`` (weights that ship), ``transformers_`` (folders and hub ids), ``openai_``
(endpoints). ``hub`` keeps models on this machine; ``minilm``, ``weights`` and ``torch_setup`` are what they share.
"""
