"""Inference engines on this machine.

environments     where an engine is installed, and how
engine_kinds     the engines we know: vLLM, transformers, llama.cpp
weights          model weights, prepared for an engine
local_server     one engine process that serves a model: start, prove, stop
supervisor       starts a server again when it dies
reaper           a parent process that ends a server with everything it started
llamacpp_server  llama.cpp's server, run by the engine's own Python
server_metrics   what a server reports of its load"""
