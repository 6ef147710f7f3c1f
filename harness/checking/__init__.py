"""Checks access methods before a sweep is played.

check_sweep    wires the room: expected cost, the checks of all methods, the stored rows of the probes
ask_probes     asks short questions through a method's own gate and caller
own_tokenizer  counts the probes' prompts with the tokenizer of the weights
check_method   checks one method: address, key, model, quota headers, parameters"""
