"""The emulated provider: quotas, latency, faults and planted defects, on a socket or in virtual time.

provider     one request -> its answer
exchange     requests and answers as values; errors and faults
formats      OpenAI's and Anthropic's formats, seen from the server
gemini_format  Gemini's
quota        the laws of quotas, which both providers enforce
statistics   counts of requests, refusals and faults
scoring      scores texts as vLLM does with prompt_logprobs
toy_model    a small automaton that is sampled like a language model
thoughts     what it thinks before a reply
reply_defects  planted defects of a finished reply
hash_random  chance by name
server       the sockets: HTTP/1.1 on asyncio
upstream     a real server in place of bots
process      the command `lightbulb emulate`
simulated    the same provider without a socket

In a test or a bench, on asyncio:

    from backends.emulator.server import serving
    from harness.core.emulation import Emulation, Latency, Quotas

    emulation = Emulation(quotas=Quotas(requests=300), latency=Latency(first_s=0.05), skill=0.8)
    async with serving(emulation) as emulator:
        ... emulator.base_url ...      # "http://127.0.0.1:41234/v1", for HttpBackend or a sweep's base_url
        emulator.statistics            # requests, admitted and refused, faults, arrival times; .peak(60.0)

As a process of its own: `lightbulb emulate --port 8080 quotas.requests=300 faults.rate=0.2`; its counts are
at /emulator/statistics. It answers OpenAI's chat completions (/v1/chat/completions, /v1/models),
Anthropic's messages (/v1/messages) and Gemini's generateContent (/v1beta/models/NAME:generateContent),
streamed or not.

Bots answer the turns of games. The header `x-lightbulb-ask` names the turn; our client sends it to loopback
only, and only for an access method with provider = "emulator" or "bots". The toy model answers all other
requests. harness/core/emulation.py describes every setting.

Same seed and same requests, same bytes: the fault and the reply of a request depend on its content and on how
often it came before, not on the order in which different requests arrive. Quotas, deaths and the queue depend
on the clock and are the exception."""
