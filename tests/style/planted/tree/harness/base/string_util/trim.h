// The folder's name is the offence.
#pragma once
