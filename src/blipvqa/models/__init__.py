"""BLIP's models, their weights, and the devices that compute them. In reading order:

- `vqa`: questions about images to answers; loss, generation and ranking
- `ensemble`: several of them that answer as one
- `captioner`: images to captions; loss, and what each word looked at
- `retriever`: pictures by words and words by pictures; features, matching, and both losses
- `pretraining`: the mixture of encoder and decoder, with three losses at once
- `pairs`: whether a statement is true of two pictures
- `contrast`: those losses as functions, and what training keeps beside the weights
- `processes`: values of all processes that train together
- `decoding`: answers and captions written by greedy and beam search, by the authors' rules; `sampling`: drawn ones
- `language`: the loss of a text
- `packing`: texts without padding, laid out on the CPU; `looks`: values of a device, without a wait for them
- `pictures`: pictures to states, kept where no training changes them
- `several_pictures`: several of them in one row; `questions`: encoded ones
- `towers`: how BLIP's towers are wired, over tokens without padding
- `attention`: one function for every attention
- `tokenizer`: words to numbers, and with which token a text begins
- `loading`: a model from a folder or the Hub, and back into a folder
- `classes`: which of them a task trains, and which a folder holds
- `together`: a start from parts of several folders, and what of it is new
- `folders`, `architecture`, `weights`: what is read of a folder that may come from a stranger, and its fingerprint
- `scratch`: a model that starts from random weights
- `adjust`: what a run's config changes in a model
- `adapters`: low-rank adapters, and their export in peft's form
- `int8`: a smaller model for a CPU, in whole numbers
- `versions`: whether an untested transformers still gives BLIP's numbers
- `devices`: which device and number format
- `cpu`: what makes a CPU fast; skip it on first reading
"""
