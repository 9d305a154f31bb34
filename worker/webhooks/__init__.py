"""T8, the dispatcher: sends the outbox's deliveries to their targets, under the same lease protocol as jobs.

`python -m worker.webhooks` is the process; two or more may run. `dispatcher` claims and settles, `sending` makes one
try, `addresses` decides where it may go, `network` connects there and nowhere else, `signing` signs. A job never waits
for it: publishing writes rows, and that is all. No torch here.
"""
